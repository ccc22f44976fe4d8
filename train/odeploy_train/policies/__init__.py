"""Kinds of policies: flow, student, MLP, recurrent, diffusion, best of N.

Imports modules.
"""
