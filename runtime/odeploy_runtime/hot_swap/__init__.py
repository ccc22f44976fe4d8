"""Replacing a served policy between two ticks: slot, proving, shadow, control socket.

May import: inference.
"""
