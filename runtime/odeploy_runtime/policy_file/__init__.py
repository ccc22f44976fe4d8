"""The policy file: manifest, observation recipe, actuation, validation and signature.

May import: transport, trace and every room below them.
"""
