"""Off-policy training: SAC, FMER.

May import: runs.
"""
