"""Search for the noise, solver and number of steps to deploy.

Owns settings, their scores and times, and the tables of them. May import: the pipeline and what lies below it.
"""
