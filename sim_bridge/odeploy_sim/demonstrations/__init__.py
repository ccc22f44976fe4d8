"""Demonstration datasets: recording, reading, cards, quality, plots.

May import: experts, catalogue, tasks.
"""
