"""Clocks, pacing, pre-touch, counters and child processes: what keeps time on one machine.

May import: the standard library, `errors`.
"""
