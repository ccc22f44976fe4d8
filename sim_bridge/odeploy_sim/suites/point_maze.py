"""gymnasium-robotics' medium point maze: with a setting that it cannot be given, and with a denser reward."""

from typing import Any

import numpy as np
from gymnasium_robotics.envs.maze.maps import MEDIUM_MAZE
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv
from numpy.typing import NDArray

from odeploy_sim.suites.maze_paths import MazePaths


class MediumMazeEnv(PointMazeEnv):  # type: ignore[misc]
    """PointMaze_Medium-v3. Reward: 1 at the goal.

    Args:
        position_noise_range: how far start and goal may lie from the centres of their cells, in metres.
    """

    def __init__(self, position_noise_range: float = 0.25, **arguments: Any) -> None:
        super().__init__(maze_map=MEDIUM_MAZE, **arguments)
        self.position_noise_range = position_noise_range


class ProgressMazeEnv(MediumMazeEnv):
    """The same, and the reward is also the metres by which a tick has shortened the way to the goal.

    What a whole way earns is its length, whatever was tried in between: the sum of a difference of potentials.
    """

    _to_go_m: float

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._paths = MazePaths(self.maze)

    def reset(self, **arguments: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """A new start and a new goal."""
        observation, info = super().reset(**arguments)
        self._to_go_m = self._length_m(observation)
        return observation, info

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """One tick."""
        observation, reached, terminated, truncated, info = super().step(action)
        before, self._to_go_m = self._to_go_m, self._length_m(observation)
        return observation, float(reached) + before - self._to_go_m, terminated, truncated, info

    def _length_m(self, observation: dict[str, NDArray[Any]]) -> float:
        return self._paths.length_m(observation["achieved_goal"], observation["desired_goal"])
