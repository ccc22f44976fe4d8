"""The expert of the mazes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.suites.maze_paths import MazePaths
from odeploy_sim.tasks.env import TaskEnv


class MazeExpert:
    """Follow the shortest path, by a PD law towards the centre of the next cell.

    Each tick chooses the waypoint from the current cell, so a ball that noise or a bounce threw off course needs
    no special case.
    """

    P_GAIN, D_GAIN = 10.0, 1.0

    def __init__(self, env: TaskEnv) -> None:
        inside: Any = env.env.unwrapped
        self._paths = MazePaths(inside.maze)

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the force for (x, y, velocity x, velocity y, goal x, goal y). Shape (2,)."""
        position, velocity, goal = observation[:2], observation[2:4], observation[4:6]
        force = self.P_GAIN * (self._paths.waypoint(position, goal) - position) - self.D_GAIN * velocity
        return np.clip(force, -1, 1).astype(np.float32)
