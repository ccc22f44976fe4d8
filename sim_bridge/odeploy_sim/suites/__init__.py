"""Environments built on other packages: gymnasium-robotics, dm_control.

May import: the runtime.
"""
