"""Real time on one machine: clocks, scheduling, pre-touch, ring buffer, counters and child processes.

May import: the root modules (`errors`, `signals`, `typed_json`, `atomic_file`).
"""
