"""The expert of the mazes."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_bridge.task import TaskEnv


class MazeExpert:
    """Walks the shortest path through the cells, with a PD law towards the centre of the next one.

    The waypoint is chosen anew from the present cell at every tick, so a ball that noise or a bounce threw
    off course needs no special case.
    """

    P_GAIN, D_GAIN = 10.0, 1.0

    def __init__(self, env: TaskEnv) -> None:
        self._maze: Any = env.env.unwrapped.maze  # type: ignore[attr-defined]
        self._free = np.array(self._maze.maze_map) == 0
        self._distances: dict[tuple[int, int], NDArray[np.int64]] = {}

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Force for (x, y, velocity x, velocity y, goal x, goal y). Shape (2,)."""
        position, velocity, goal = observation[:2], observation[2:4], observation[4:6]
        cell, goal_cell = self._cell(position), self._cell(goal)
        waypoint = (
            goal if cell == goal_cell else self._maze.cell_rowcol_to_xy(np.array(self._next(cell, goal_cell)))
        )
        force = self.P_GAIN * (waypoint - position) - self.D_GAIN * velocity
        return np.clip(force, -1, 1).astype(np.float32)

    def _cell(self, xy: NDArray[np.float32]) -> tuple[int, int]:
        row, column = self._maze.cell_xy_to_rowcol(xy)
        return int(row), int(column)

    def _next(self, cell: tuple[int, int], goal: tuple[int, int]) -> tuple[int, int]:
        if goal not in self._distances:
            self._distances[goal] = _distances(self._free, goal)
        distances = self._distances[goal]
        return min(_neighbours(cell), key=lambda n: distances[n])


def _neighbours(cell: tuple[int, int]) -> list[tuple[int, int]]:
    row, column = cell
    return [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]


def _distances(free: NDArray[np.bool_], goal: tuple[int, int]) -> NDArray[np.int64]:
    """Steps to the goal from every cell, by breadth-first search; walls are farther than anything."""
    distances = np.full(free.shape, free.size)
    distances[goal] = 0
    queue = deque([goal])
    while queue:
        cell = queue.popleft()
        for near in _neighbours(cell):
            if free[near] and distances[near] == free.size:
                distances[near] = distances[cell] + 1
                queue.append(near)
    return distances
