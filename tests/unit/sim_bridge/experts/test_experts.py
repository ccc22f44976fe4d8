"""Scripted experts: shortest paths, checked against a relaxation, and solved tasks."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_sim.catalogue import TASKS
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.maze import MazeExpert
from odeploy_sim.tasks.env import TaskEnv


def distances_to(free: NDArray[np.bool_], goal: tuple[int, int]) -> NDArray[np.float64]:
    """Return distances by Bellman-Ford on the grid."""
    distance = np.where(free, np.inf, np.nan)
    distance[goal] = 0
    while True:
        padded = np.pad(np.nan_to_num(distance, nan=np.inf), 1, constant_values=np.inf)
        around = np.min([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], axis=0)
        relaxed = np.where(free, np.minimum(distance, around + 1), np.nan)
        if np.array_equal(relaxed, distance, equal_nan=True):
            return distance
        distance = relaxed


def test_the_maze_expert_follows_a_shortest_path_between_any_two_cells(maze: TaskEnv) -> None:
    expert, plan = MazeExpert(maze), maze.env.unwrapped.maze  # type: ignore[attr-defined]
    free = np.array(plan.maze_map) == 0
    cells = [(int(row), int(column)) for row, column in np.argwhere(free)]
    assert len(cells) > 20

    def centre(cell: tuple[int, int]) -> Any:
        return plan.cell_rowcol_to_xy(np.array(cell))

    for goal in cells:
        distance = distances_to(free, goal)
        for cell in cells:
            observation = np.concatenate([centre(cell), np.zeros(2), centre(goal)]).astype(np.float32)
            force = expert(observation)
            if cell == goal:
                np.testing.assert_allclose(force, 0, atol=1e-5)
                continue
            row, column = plan.cell_xy_to_rowcol(centre(cell) + np.sign(force) * (np.abs(force) > 0.5))
            assert distance[row, column] == distance[cell] - 1


def test_the_maze_expert_brakes(maze: TaskEnv) -> None:
    maze.reset(0)
    expert = MazeExpert(maze)
    at_goal = np.array([0.6, 1.6, 0.5, -0.25, 0.6, 1.6], np.float32)
    np.testing.assert_allclose(expert(at_goal), [-0.5, 0.25], atol=1e-6)


@pytest.mark.parametrize("name", ["maze-medium", "fetch-reach"])
def test_experts_solve_their_task_within_their_limits(name: str) -> None:
    env = TaskEnv(TASKS[name])
    expert = EXPERTS[env.task.name](env)
    for seed in range(4):
        observation, done = env.reset(seed), False
        while not done:
            action = expert(observation)
            assert action.shape == (len(env.task.action),)
            assert action.dtype == np.float32
            assert (np.abs(action) <= 1).all()
            step = env.step(action)
            observation, done = step.observation, step.done
        assert step.success
    env.close()
