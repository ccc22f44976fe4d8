"""Models of stable-baselines3 and sb3-contrib, read without running a pickle.

Imports options and, for the networks, train.
"""
