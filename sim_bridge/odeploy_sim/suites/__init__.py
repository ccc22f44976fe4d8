"""Environments built on other packages: gymnasium-robotics and dm_control.

Owns what odeploy changes of them: ranges, noise levels, rewards, flat observations. Tasks name them by entry
point.

May import: the runtime.
"""
