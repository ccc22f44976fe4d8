"""The wire: messages, sockets, links to the I/O process, keys and authentication.

May import: realtime.
"""
