"""Hand-rotate: a five-fingered hand turns a block in its palm about the vertical.

The turn is an eighth to a quarter.

gymnasium-robotics' HandManipulateBlockRotateZ with the start and goal ranges of FM-IRL (arXiv 2510.09222).
"""

from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from gymnasium_robotics.envs.shadow_dexterous_hand.manipulate_block import MujocoHandBlockEnv
from gymnasium_robotics.utils import rotations
from numpy.typing import NDArray

START_POSITION_STD_M = 0.005
START_YAW_RAD = np.pi / 12  # uniform within plus and minus
GOAL_YAW_RAD = np.pi / 3  # middle of the goals, which lie within START_YAW_RAD of it: pi/4 to 5 pi/12


class HandRotateEnv(MujocoHandBlockEnv):  # type: ignore[misc]
    """Hand that turns a block.

    Success: its rotation is within 0.1 rad of the goal's, which ends the episode.

    Args:
        noise: scale of the start position's spread and of the ranges of start yaw and goal yaw.
        reward_type: `sparse` (0 at success, else -1) or `dense` (minus the remaining angle).
    """

    def __init__(self, noise: float = 1.0, reward_type: str = "sparse", **arguments: Any) -> None:
        self.noise = noise
        super().__init__("ignore", "z", reward_type, **arguments)
        EzPickle.__init__(self, noise, reward_type, **arguments)  # the base stores its own arguments
        self.randomize_initial_position = self.randomize_initial_rotation = False
        address = int(self.model.joint("object:joint").qposadr[0])
        self._block = slice(address, address + 7)
        self._block_at_rest = self.initial_qpos[self._block].copy()

    def compute_terminated(
        self,
        achieved_goal: NDArray[np.float64],
        desired_goal: NDArray[np.float64],
        info: dict[str, Any],  # noqa: ARG002
    ) -> bool:
        """Return whether the task is solved, which ends the episode."""
        return bool(self._is_success(achieved_goal, desired_goal))

    def _reset_sim(self) -> bool:
        position = self._block_at_rest[:3] + self.np_random.normal(0, START_POSITION_STD_M * self.noise, 3)
        yaw = self._turned(self._block_at_rest[3:], self.np_random.uniform(-1, 1) * START_YAW_RAD * self.noise)
        self.initial_qpos[self._block] = np.concatenate([position, yaw])
        return bool(super()._reset_sim())

    def _sample_goal(self) -> NDArray[np.float64]:
        position = self._get_achieved_goal()[:3]
        angle = GOAL_YAW_RAD + self.np_random.uniform(-1, 1) * START_YAW_RAD * self.noise
        return np.concatenate([position, self._turned(self._block_at_rest[3:], angle)])

    def _turned(self, quaternion: NDArray[np.float64], yaw_rad: float) -> NDArray[np.float64]:
        about_z = np.array([np.cos(yaw_rad / 2), 0, 0, np.sin(yaw_rad / 2)])
        turned: NDArray[np.float64] = rotations.quat_mul(quaternion, about_z)
        return turned
