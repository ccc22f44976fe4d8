"""Swapping a served policy between two ticks: policy slot, control socket, proving in a child process, shadow.

May import: inference and every room below it; not the server, which takes policies from the slot.
"""
