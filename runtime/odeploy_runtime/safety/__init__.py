"""The guard, its safety states, and the operator panel.

May import: realtime.
"""
