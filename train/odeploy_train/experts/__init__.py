"""Experts trained with stable-baselines3.

May import: runs.
"""
