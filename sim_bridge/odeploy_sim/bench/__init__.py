"""Measurements of policy files on tasks: scores, latency, and its lower bounds.

May import: simulated_robot, demonstrations, experts and the rooms below. The bench starts `odeploy serve`,
`odeploy sim` and `cli/floors` as child processes.
"""
