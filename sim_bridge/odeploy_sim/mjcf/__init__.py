"""Tasks without Python: an MJCF model and a table of terms.

Owns the `[mjcf]` table of a task file, the simulation that it describes, and the names and units of a model's
quantities.

May import: tasks, environments; the runtime.
"""
