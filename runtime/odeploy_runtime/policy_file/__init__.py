"""The policy file: manifest, recipe, actuation, validation and signature.

May import: transport, trace and every room below them.
"""
