"""Demonstration datasets: recording, reading, cards, quality, plots.

Owns the format of a dataset and its card, and the choice of the expert that is recorded.

May import: experts, catalogue, tasks, environments; the runtime.
"""
