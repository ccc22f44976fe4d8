"""Tasks from anywhere: a user's file or package, a gymnasium id, a TOML file.

Owns how a command line names a task, and the names of signals that a simulation's own model tells.

May import: tasks, the catalogue; the runtime.
"""
