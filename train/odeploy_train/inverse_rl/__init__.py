"""Rewards learned from demonstrations: GAIL and its family, FM-IRL.

May import: on_policy, behaviour_cloning.
"""
