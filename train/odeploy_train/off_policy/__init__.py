"""Off-policy training: SAC and FMER on one core.

Imports runs, policies and modules; neither on_policy nor behaviour_cloning.
"""
