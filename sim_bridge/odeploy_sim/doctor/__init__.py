"""The doctor: checks of a policy file on its task, each in a module of its own.

`examine` runs them all; `findings` is what they return. May import: demonstrations, experts and the rooms below.
"""
