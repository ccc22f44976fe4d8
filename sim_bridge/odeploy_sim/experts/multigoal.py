"""The expert of multigoal-2d."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.environments.multigoal import GOALS_M
from odeploy_sim.tasks.env import TaskEnv


class MultigoalExpert:
    """Go straight to one goal, drawn for each episode.

    Demonstrations then have four modes at one place.

    The nearest goal would need no memory, but would make the action a function of the place. The goal is drawn
    from the environment's own generator, so the episode's seed determines it.
    """

    def __init__(self, env: TaskEnv) -> None:
        self._inside: Any = env.env.unwrapped
        self._goal_m = GOALS_M[0]

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the velocity at (x, y). Shape (2,).

        Its length is 1 until the goal is less than a metre away.
        """
        if self._inside.data.time == 0:  # the episode has just begun
            self._goal_m = GOALS_M[self._inside.np_random.integers(len(GOALS_M))]
        way = self._goal_m - observation
        velocity: NDArray[np.float32] = (way / max(1.0, float(np.linalg.norm(way)))).astype(np.float32)
        return velocity
