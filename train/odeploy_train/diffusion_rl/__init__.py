"""Diffusion policies trained off-policy: QVPO, DIPO, DPMD.

May import: off_policy.
"""
