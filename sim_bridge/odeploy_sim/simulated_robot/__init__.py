"""The simulated robot: a task as a plant, its deadline, a run, viewer and film.

May import: catalogue, tasks and the rooms below.
"""
