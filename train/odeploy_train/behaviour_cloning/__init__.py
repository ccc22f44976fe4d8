"""Supervised training on demonstrations.

May import: runs.
"""
