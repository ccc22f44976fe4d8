"""The policy kinds: flow, student, MLP, recurrent, diffusion, best of N.

May import: modules.
"""
