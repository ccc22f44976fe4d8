"""The policy file: manifest, observation recipe, actuation, validation, signature.

May import: realtime.
"""
