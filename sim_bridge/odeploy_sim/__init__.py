"""Simulation: tasks, experts, demonstrations, the simulated robot, the bench."""
