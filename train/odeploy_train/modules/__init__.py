"""Building blocks: networks, ODE solvers, flow paths, noise schedules, moments.

Imports the runtime only.
"""
