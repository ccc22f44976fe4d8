"""The expert of fetch-pick."""

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv


class FetchPickExpert:
    """Hover over the block, descend around it, grasp it, and carry it to the goal.

    The current observation alone decides the phase, so a block that was missed, pushed or dropped is approached
    again.
    """

    GAIN = 15.0  # an action of 1 is 0.05 m, of which a tick makes two thirds: this undershoots a little
    HOVER_M = 0.05  # of the gripper over the block, where closed fingers pass above it
    CENTRED_M = 0.015  # lateral distance from the block's centre at which the fingers still pass it
    AROUND_M = 0.012  # height above the block's centre at which they close
    OPEN_M, HELD_M = 0.09, 0.06  # between the fingers: 0.1 is wide open, the block is 0.05

    def __init__(self, _env: TaskEnv) -> None: ...

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the displacement of gripper and fingers for the task's 16 observations.

        Shape (4,).
        """
        block, to_block, goal = observation[3:6], observation[6:9], observation[13:16]
        between = observation[9:11].sum()
        aside, above = np.linalg.norm(to_block[:2]), -to_block[2]
        around = aside < self.CENTRED_M and above < self.AROUND_M
        if around and between < self.HELD_M:
            return self._action(goal - block, -1)
        if around:
            return self._action(to_block, -1)
        if aside < self.CENTRED_M and between > self.OPEN_M:
            return self._action(to_block, 1)
        return self._action(to_block + np.array([0, 0, self.HOVER_M], np.float32), 1)

    def _action(self, displacement_m: NDArray[np.float32], fingers: float) -> NDArray[np.float32]:
        return np.append(np.clip(self.GAIN * displacement_m, -1, 1), fingers).astype(np.float32)
