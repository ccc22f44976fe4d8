"""The expert of fetch-reach."""

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv


class ReachExpert:
    """Move the gripper straight to the goal.

    The action is a displacement, so a gain of 10 is enough.
    """

    def __init__(self, _env: TaskEnv) -> None: ...

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the displacement for (gripper, fingers, velocities, goal). Shape (4,)."""
        displacement = np.clip(10 * (observation[10:13] - observation[:3]), -1, 1)
        return np.append(displacement, 0).astype(np.float32)
