"""The simulated robot: a task as the plant of the control loop, its deadline and options, a run, viewer and film.

May import: catalogue, tasks and the rooms below.
"""
