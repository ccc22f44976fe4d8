"""The runtime's verbs, one file each: parse options, call a room, print.

May import: every room of the runtime. No room imports this one.
"""
