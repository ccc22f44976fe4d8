"""Physics of our own: MuJoCo models and environments that no package ships.

May import: the runtime.
"""
