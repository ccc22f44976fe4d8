"""Tasks and their environments, single, batched and as gymnasium environments.

May import: the runtime.
"""
