"""Supervised training on demonstrations: behaviour cloning and distillation.

Imports runs, policies and modules.
"""
