"""The verbs of the runtime, one file each.

May import: every room of the runtime.
"""
