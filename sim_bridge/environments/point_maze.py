"""gymnasium-robotics' medium point maze, with the one setting that it has but cannot be given."""

from typing import Any

from gymnasium_robotics.envs.maze.maps import MEDIUM_MAZE
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv


class MediumMazeEnv(PointMazeEnv):  # type: ignore[misc]
    """PointMaze_Medium-v3.

    Args:
        position_noise_range: how far start and goal may lie from the centres of their cells, in metres.
    """

    def __init__(self, position_noise_range: float = 0.25, **arguments: Any) -> None:
        super().__init__(maze_map=MEDIUM_MAZE, **arguments)
        self.position_noise_range = position_noise_range
