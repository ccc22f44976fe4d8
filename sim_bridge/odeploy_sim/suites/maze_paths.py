"""Shortest paths through a maze of square cells, by breadth-first search."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]


class MazePaths:
    """Shortest paths to goals: the next waypoint, and the length.

    Args:
        maze: gymnasium-robotics' `Maze`, whose map has 0 for a free cell.
    """

    def __init__(self, maze: Any) -> None:
        self._maze = maze
        self._free = np.array(maze.maze_map) == 0
        self._distances: dict[Cell, NDArray[np.int64]] = {}

    def waypoint(self, xy: NDArray[Any], goal: NDArray[Any]) -> NDArray[Any]:
        """Return the next waypoint [m].

        It is the centre of the next cell, or the goal from within its own cell.

        Shapes (2,), (2,) -> (2,).
        """
        return self._waypoint(self._cell(xy), goal)

    def length_m(self, xy: NDArray[Any], goal: NDArray[Any]) -> float:
        """Return the length of the path over all waypoints [m]. Shapes (2,), (2,)."""
        length, goal_cell, cell = 0.0, self._cell(goal), self._cell(xy)
        while True:
            waypoint = self._waypoint(cell, goal)
            length += float(np.linalg.norm(waypoint - xy))
            if waypoint is goal:
                return length
            xy, cell = waypoint, self._next(cell, goal_cell)

    def _waypoint(self, cell: Cell, goal: NDArray[Any]) -> NDArray[Any]:
        goal_cell = self._cell(goal)
        if cell == goal_cell:
            return goal
        centre: NDArray[Any] = self._maze.cell_rowcol_to_xy(np.array(self._next(cell, goal_cell)))
        return centre

    def _cell(self, xy: NDArray[Any]) -> Cell:
        row, column = self._maze.cell_xy_to_rowcol(xy)
        return int(row), int(column)

    def _next(self, cell: Cell, goal: Cell) -> Cell:
        if goal not in self._distances:
            self._distances[goal] = _distances(self._free, goal)
        distances = self._distances[goal]
        return min(_neighbours(cell), key=lambda n: distances[n])


def _neighbours(cell: Cell) -> list[Cell]:
    row, column = cell
    return [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]


def _distances(free: NDArray[np.bool_], goal: Cell) -> NDArray[np.int64]:
    """Return steps to the goal from every cell; walls are farther than any cell."""
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
