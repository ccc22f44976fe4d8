"""Hot swap of a served policy: slot, control socket, proving, shadow.

May import: inference and every room below it; not the server, which takes policies from the slot.
"""
