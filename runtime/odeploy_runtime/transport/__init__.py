"""The transport: messages, sockets, links, keys and authentication.

May import: safety and realtime.
"""
