"""The robot side: client, chunk playback, counters.

May import: server, trace.
"""
