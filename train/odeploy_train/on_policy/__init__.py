"""PPO with its rollouts, advantages and ratio.

May import: runs.
"""
