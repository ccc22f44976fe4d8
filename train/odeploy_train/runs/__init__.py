"""What a training leaves: run folders, checkpoints, curves, provenance, best policy.

May import: policies.
"""
