"""Simulated robots: tasks, experts, demonstrations, the robot side of the loop, the latency bench."""
