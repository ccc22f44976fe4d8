"""The verbs of the simulation, one file each.

May import: every room of the simulation.
"""
