"""Tasks from anywhere: a user's file or package, a gymnasium id, a TOML file.

Owns how a command line names a task.

May import: mjcf, tasks, the catalogue; the runtime.
"""
