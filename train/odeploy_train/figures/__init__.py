"""The papers' figures, drawn from runs.

Imports every room of training.
"""
