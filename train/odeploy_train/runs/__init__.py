"""Shared by all trainings: run folder, checkpoints, curves, scores, options.

Imports policies and modules.
"""
