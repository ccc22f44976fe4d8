"""Shortest ways through a maze of square cells, by breadth-first search."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]


class MazePaths:
    """What is next on the way to a goal, and how far it is.

    Args:
        maze: gymnasium-robotics' `Maze`, whose map has 0 for a free cell.
    """

    def __init__(self, maze: Any) -> None:
        self._maze = maze
        self._free = np.array(maze.maze_map) == 0
        self._distances: dict[Cell, NDArray[np.int64]] = {}

    def waypoint(self, xy: NDArray[Any], goal: NDArray[Any]) -> NDArray[Any]:
        """Where to head for: the goal from within its own cell, else the next cell's centre.

        Shapes (2,), (2,) -> (2,), in metres.
        """
        return self._waypoint(self._cell(xy), goal)

    def length_m(self, xy: NDArray[Any], goal: NDArray[Any]) -> float:
        """Length of the way over all waypoints. Shapes (2,), (2,)."""
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
    """Steps to the goal from every cell; walls are farther than anything."""
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
