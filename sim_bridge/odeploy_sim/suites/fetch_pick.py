"""Fetch-pick: an arm picks a block up and holds it above the table's other side.

gymnasium-robotics' FetchPickAndPlace with FM-IRL's ranges of block and goal (arXiv 2510.09222), of which parts can
be held out.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium.utils import EzPickle
from gymnasium_robotics.envs.fetch.pick_and_place import MujocoFetchPickAndPlaceEnv
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError

SIDE_M = 0.1  # from the gripper's start to the left, where the block's range begins; to the right, the goal's
DEPTH_M = 0.04  # of both ranges, along y, away from the gripper's start
WIDTH_M = 0.1  # of both ranges, along x, centred on the gripper's start
GOAL_HEIGHT_M = 0.15  # above the block at rest
CELLS = 4  # rows and columns of the grid by which parts of a range are held out

# Closer than gymnasium-robotics' own view, from across the table.
VIEW = {"distance": 1.1, "azimuth": 160.0, "elevation": -20.0, "lookat": np.array([1.34, 0.75, 0.5])}


class FetchPickEnv(MujocoFetchPickAndPlaceEnv):  # type: ignore[misc]
    """Arm that holds a block at a goal. Success: the block is within 5 cm of it.

    Success does not end an episode, since the block has to be held there. The reward is 0 at success, else -1.

    Args:
        noise: scale of both ranges' depth and width; at 0 block and goal have one place each.
        coverage: share of each range that is drawn from: 0.25, 0.5, 0.75 or 1. Each column of cells leaves out
            different rows, so demonstrations at 0.5 cover every x and every y but half of their pairs.

    Raises:
        UsageError: a coverage that is not a whole number of rows.
    """

    def __init__(self, noise: float = 1.0, coverage: float = 1.0, **arguments: Any) -> None:
        if coverage * CELLS not in range(1, CELLS + 1):
            raise UsageError(
                where="coverage",
                expected=f"one of {', '.join(f'{rows / CELLS:g}' for rows in range(1, CELLS + 1))}",
                got=f"{coverage:g}",
                remedy="choose one of them",
            )
        self.noise = noise
        self._rows = int(coverage * CELLS)
        super().__init__(**{"default_camera_config": VIEW, **arguments})
        EzPickle.__init__(self, noise, coverage, **arguments)  # the base's own would drop both

    def _reset_sim(self) -> bool:
        super()._reset_sim()  # also places the block, in another range
        self.data.joint("object0:joint").qpos[:2] = self._draw(side=1)
        mujoco.mj_forward(self.model, self.data)
        return True

    def _sample_goal(self) -> NDArray[np.float64]:
        return np.append(self._draw(side=-1), self.height_offset + GOAL_HEIGHT_M)

    def _draw(self, side: int) -> NDArray[np.float64]:
        """Draw a point of the range on the gripper's left (1) or right (-1). Shape (2,).

        It is in the world [m].
        """
        column = self.np_random.integers(CELLS)
        row = (column + self.np_random.integers(self._rows)) % CELLS
        x, y = (np.array([column, row]) + self.np_random.uniform(size=2)) / CELLS
        from_start = [self.noise * (x - 0.5) * WIDTH_M, side * (SIDE_M + self.noise * y * DEPTH_M)]
        drawn: NDArray[np.float64] = self.initial_gripper_xpos[:2] + np.array(from_start)
        return drawn

    def _get_obs(self) -> dict[str, NDArray[np.float64]]:
        """Return the first 13 of the base's 25 numbers.

        They contain no rotation of the block about z, and no velocities.
        """
        full: dict[str, NDArray[np.float64]] = super()._get_obs()
        return {**full, "observation": full["observation"][:13]}
