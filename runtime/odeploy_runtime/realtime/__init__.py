"""Real time: clocks, scheduling, pre-touch, ring, counters, child processes.

May import: the root modules (`errors`, `signals`, `typed_json`, `atomic_file`).
"""
