"""The commands of the export: they parse, call and print.

Owns one file for each command. May import: every room of the export.
"""
