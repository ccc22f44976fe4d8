"""The maze that rewards progress: the same maze, shortest paths, and a return of the path's length."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from odeploy_sim.catalogue import get
from odeploy_sim.experts.maze import MazeExpert
from odeploy_sim.suites.maze_paths import MazePaths
from odeploy_sim.tasks.env import TaskEnv


@pytest.fixture
def progress() -> Iterator[TaskEnv]:
    env = TaskEnv(get("maze-medium-progress"))
    yield env
    env.close()


def inside(env: TaskEnv) -> Any:
    return env.env.unwrapped


def test_a_path_passes_the_centre_of_the_goals_cell_unless_it_begins_in_it(progress: TaskEnv) -> None:
    maze = inside(progress).maze
    paths = MazePaths(maze)
    at, goal = (maze.cell_rowcol_to_xy(np.array(cell)) for cell in ((6, 5), (6, 6)))
    assert paths.length_m(at, goal + 0.2) == pytest.approx(1 + np.hypot(0.2, 0.2))
    assert paths.length_m(at, at + 0.1) == pytest.approx(np.hypot(0.1, 0.1))


def test_a_path_goes_around_walls(progress: TaskEnv) -> None:
    maze = inside(progress).maze
    free = np.array(maze.maze_map) == 0
    paths = MazePaths(maze)
    centres = [maze.cell_rowcol_to_xy(cell) for cell in np.argwhere(free)]
    lengths = np.array([[paths.length_m(a, b) for b in centres] for a in centres])
    np.testing.assert_allclose(lengths, lengths.T)
    straight = np.abs(np.array(centres)[:, None] - np.array(centres)).sum(-1)
    assert (lengths >= straight - 1e-9).all()
    assert (lengths > straight + 1).any()
    np.testing.assert_allclose(lengths, np.round(lengths))


@pytest.mark.parametrize("seed", range(3))
def test_a_solved_episode_earns_one_plus_the_travelled_part_of_its_path(progress: TaskEnv, seed: int) -> None:
    expert, observation = MazeExpert(progress), progress.reset(seed)
    length = MazePaths(inside(progress).maze).length_m
    start, earned, done = length(observation[:2], observation[4:6]), 0.0, False
    while not done:
        step = progress.step(expert(observation))
        observation, done, earned = step.observation, step.done, earned + step.reward
    assert step.success
    left = length(observation[:2], observation[4:6])
    assert left < 1.0 < start
    assert earned == pytest.approx(1 + start - left, abs=1e-5)


def test_it_differs_from_the_maze_only_in_the_reward(progress: TaskEnv, maze: TaskEnv) -> None:
    np.testing.assert_array_equal(progress.reset(3), maze.reset(3))
    for _ in range(20):
        one, other = (env.step(np.array([0.7, -0.4], np.float32)) for env in (progress, maze))
        np.testing.assert_array_equal(one.observation, other.observation)
        assert (one.done, one.success) == (other.done, other.success)
        assert other.reward == 0 != one.reward
