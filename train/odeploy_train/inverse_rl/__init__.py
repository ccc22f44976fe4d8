"""Rewards learned from demonstrations: GAIL and its family, FM-IRL.

Imports on_policy, runs, policies and modules.
"""
