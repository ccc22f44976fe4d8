"""The parity check: a graph compared with what it must compute.

Owns inputs, tolerances, one check for each form of graph, the diagnosis of a failure, and closed loops.
May import: graphs.
"""
