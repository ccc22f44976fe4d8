"""Timing of this checkout against another one: `python -m tests.timing.against OTHER_CLONE`.

Each checkout runs its own server and its own simulated robot, in its own environment. They take turns of
half a second, so that drift of the machine affects both alike, and a pair of turns is one block of the
bootstrap. Two robots measure each server: one client of this tool, the same for both checkouts, which follows
docs/reference/protocol.md; and the checkout's own `odeploy sim`, whose trace has the stamps of each tick.
"""
