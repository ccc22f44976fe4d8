"""The verbs of the export, one file each.

May import: every room of the export.
"""
