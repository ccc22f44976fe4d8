"""Facts that a policy's file states about its robot, applied to a task by name.

Imports graphs (the scale of an action) and the task. Known keys become signals, recipe and actuation.
"""
