"""Searching samplers: solver, steps, noise, scored and timed.

May import: the export pipeline.
"""
