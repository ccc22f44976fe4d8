"""The transport between robot and server: messages, sockets, links, keys and authentication.

May import: safety and realtime.
"""
