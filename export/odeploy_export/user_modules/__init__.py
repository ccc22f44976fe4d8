"""A user's torch module: its Python file, its weights, copies of it, its outputs.

Imports the runtime and tasks alone.
"""
