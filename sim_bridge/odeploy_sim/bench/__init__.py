"""Measuring policy files on tasks: scores, latency bench, lower bounds.

May import: simulated_robot, demonstrations.
"""
