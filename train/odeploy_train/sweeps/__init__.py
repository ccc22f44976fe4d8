"""Methods x tasks x seeds: specification, scheduling, tables, curves.

May import: runs.
"""
