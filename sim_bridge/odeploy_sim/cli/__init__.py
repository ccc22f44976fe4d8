"""The commands of the simulation, one file each: parse, call, print.

`doctor` and `floors` are programs that other commands start as child processes. May import: every room of the
simulation.
"""
