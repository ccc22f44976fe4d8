"""What all trainings share: the run folder, checkpoints, curves, scores, rollouts, options, interrupts.

May import: policies, modules.
"""
