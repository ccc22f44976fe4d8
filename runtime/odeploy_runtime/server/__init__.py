"""The inference server: loop, sessions, status, observation ranges.

May import: hot_swap, inference.
"""
