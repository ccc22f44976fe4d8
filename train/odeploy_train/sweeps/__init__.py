"""Sweeps: methods × tasks × seeds, their results, tables and curves.

Imports runs.
"""
