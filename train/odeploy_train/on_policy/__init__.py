"""PPO: rollouts, advantages, ratio, update, run.

Imports runs, policies and modules.
"""
