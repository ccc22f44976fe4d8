"""Training: networks, flow paths, ODE solvers, and one file per algorithm."""
