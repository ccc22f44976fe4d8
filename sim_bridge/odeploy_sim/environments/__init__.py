"""Environments with physics of their own: MuJoCo models and rules that no package ships.

Owns the simulations as gymnasium environments, each with its constants. Tasks name them by entry point.

May import: the runtime.
"""
