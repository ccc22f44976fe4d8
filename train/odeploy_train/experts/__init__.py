"""Experts trained with stable-baselines3.

Imports runs.
"""
