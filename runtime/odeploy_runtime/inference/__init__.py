"""Inference: the `Policy` protocol, its two backends, and a robot's policy state.

May import: policy_file and every room below it.
"""
