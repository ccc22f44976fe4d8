"""Environments with physics of their own, which no package ships.

Owns the simulations as gymnasium environments, each with its constants. Tasks name them by entry point.

May import: the runtime.
"""
