"""Diffusion policies trained by reward: QVPO, DIPO, DPMD.

Imports off_policy, runs, policies and modules.
"""
