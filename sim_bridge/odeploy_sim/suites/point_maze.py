"""The medium point maze with a noise setting, and with a denser reward."""

from typing import Any

import numpy as np
from gymnasium_robotics.envs.maze.maps import MEDIUM_MAZE
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv
from numpy.typing import NDArray

from odeploy_sim.suites.maze_paths import MazePaths


class MediumMazeEnv(PointMazeEnv):  # type: ignore[misc]
    """PointMaze_Medium-v3. Reward: 1 at the goal.

    Args:
        position_noise_range: largest distance of start and goal from the centres of their cells [m].
    """

    def __init__(self, position_noise_range: float = 0.25, **arguments: Any) -> None:
        super().__init__(maze_map=MEDIUM_MAZE, **arguments)
        self.position_noise_range = position_noise_range


class ProgressMazeEnv(MediumMazeEnv):
    """The same maze, also rewarded for progress.

    A tick's reward includes each metre by which it shortens the path to the goal.

    The sum over a whole path is its length, whatever detours were taken: it is a difference of potentials.
    """

    _to_go_m: float

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._paths = MazePaths(self.maze)

    def reset(self, **arguments: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Draw a new start and a new goal."""
        observation, info = super().reset(**arguments)
        self._to_go_m = self._length_m(observation)
        return observation, info

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Step by one tick."""
        observation, reached, terminated, truncated, info = super().step(action)
        before, self._to_go_m = self._to_go_m, self._length_m(observation)
        return observation, float(reached) + before - self._to_go_m, terminated, truncated, info

    def _length_m(self, observation: dict[str, NDArray[Any]]) -> float:
        return self._paths.length_m(observation["achieved_goal"], observation["desired_goal"])
