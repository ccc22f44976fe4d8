"""The simulated robot: options, run, viewer, film.

May import: demonstrations.
"""
