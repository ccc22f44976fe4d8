"""The papers' figures, drawn from runs.

May import: every room of training.
"""
