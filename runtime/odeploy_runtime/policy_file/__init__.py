"""The policy file: manifest, observation recipe, actuation, validation and signature.

May import: realtime.
"""
