"""Building blocks: networks, ODE solvers, flow paths, noise schedules, running moments.

May import: the runtime.
"""
