"""The expert of the mazes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.suites.maze_paths import MazePaths
from odeploy_sim.tasks.env import TaskEnv


class MazeExpert:
    """Walks the shortest path through the cells, with a PD law towards the centre of the next one.

    The waypoint is chosen anew from the present cell at every tick, so a ball that noise or a bounce threw
    off course needs no special case.
    """

    P_GAIN, D_GAIN = 10.0, 1.0

    def __init__(self, env: TaskEnv) -> None:
        inside: Any = env.env.unwrapped
        self._paths = MazePaths(inside.maze)

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Force for (x, y, velocity x, velocity y, goal x, goal y). Shape (2,)."""
        position, velocity, goal = observation[:2], observation[2:4], observation[4:6]
        force = self.P_GAIN * (self._paths.waypoint(position, goal) - position) - self.D_GAIN * velocity
        return np.clip(force, -1, 1).astype(np.float32)
