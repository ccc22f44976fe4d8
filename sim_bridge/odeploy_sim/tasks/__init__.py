"""Tasks and their simulations: single, in vectors, and as gymnasium environments.

Owns what a task is, how it is stepped, the seeds of its episodes, and the one player of whole episodes with its
rule for broken ones.

May import: the runtime.
"""
