"""Checks of a policy file on its task.

May import: demonstrations.
"""
