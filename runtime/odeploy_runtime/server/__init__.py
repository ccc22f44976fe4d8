"""The inference server: socket loop, sessions, checks, status and health.

May import: hot_swap and every room below it. Nothing here parses options or prints.
"""
