"""The grid world: rewards of cells, borders, and two equally long paths from the saddle."""

from collections import deque

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_sim.catalogue.control_suite import GRID_WORLD
from odeploy_sim.environments.grid_world import (
    DEATH_REWARD,
    GOAL_REWARD,
    LAYOUTS,
    REACH,
    SIZE,
    GridWorldEnv,
    three_goals,
    two_walls,
)
from odeploy_sim.tasks.env import Step, TaskEnv

UP, DOWN, STILL = (np.array([0, y], np.float32) for y in (1, -1, 0))


def move(env: GridWorldEnv, *actions: tuple[float, float]) -> tuple[float, float]:
    """Apply actions; return the final cell."""
    for action in actions:
        x, y = env.step(np.array(action, np.float32))[0].tolist()
    return x, y


def moves_to(goals: NDArray[np.bool_], blocked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the moves from every cell to the nearest goal, by breadth-first search with diagonals."""
    distance = np.where(goals, 0.0, np.inf)
    queue = deque((int(y), int(x)) for y, x in np.argwhere(goals))
    while queue:
        y, x = queue.popleft()
        for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            inside = 0 <= near[0] < SIZE and 0 <= near[1] < SIZE
            if inside and not blocked[near] and distance[near] == np.inf:
                distance[near] = distance[y, x] + 1
                queue.append(near)
    return distance


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gymnasiums_checker_passes(layout: str) -> None:
    check_env(TaskEnv(GRID_WORLD, render_mode="rgb_array", layout=layout).env.unwrapped)


def test_two_rows_at_either_end_are_goals_and_all_other_cells_have_no_reward() -> None:
    rewards = two_walls()
    assert rewards.shape == (25, 25)
    assert [float(row[0]) for row in rewards] == [20.0] * 2 + [0.0] * 21 + [20.0] * 2
    assert (rewards == rewards[:, :1]).all()


def test_three_blocks_of_nine_are_goals_and_the_nine_in_the_middle_are_deadly() -> None:
    rewards = three_goals()
    assert (rewards == GOAL_REWARD).sum() == 27
    assert (rewards == DEATH_REWARD).sum() == 9
    assert rewards[REACH, REACH] == DEATH_REWARD
    np.testing.assert_array_equal(rewards, rewards[:, ::-1])


def test_both_goals_are_equally_far_exactly_from_the_middle_row_at_eleven_moves() -> None:
    goals = two_walls() == GOAL_REWARD
    upper, lower, free = goals.copy(), goals.copy(), np.zeros_like(goals)
    upper[:REACH], lower[REACH:] = False, False
    up, down = moves_to(upper, free), moves_to(lower, free)
    assert set(up[REACH].tolist()) == set(down[REACH].tolist()) == {11.0}
    np.testing.assert_array_equal((up == down).any(axis=1), np.arange(SIZE) == REACH)
    np.testing.assert_array_equal(up, down[::-1])


@pytest.mark.parametrize("action", [UP, DOWN])
def test_both_paths_from_the_saddle_take_eleven_moves_and_earn_twenty_once(action: NDArray[np.float32]) -> None:
    env = TaskEnv(GRID_WORLD, start=(0, 0))
    np.testing.assert_array_equal(env.reset(0), [0, 0])
    steps: list[Step] = []
    while not steps or not steps[-1].done:
        steps.append(env.step(action))
    assert [step.reward for step in steps] == [0.0] * 10 + [20.0]
    assert [step.terminated for step in steps] == [False] * 10 + [True]
    assert [step.success for step in steps] == [False] * 10 + [True]
    np.testing.assert_array_equal(steps[-1].observation, 11 * action)


def test_the_average_of_both_paths_does_not_move_and_ends_at_the_horizon() -> None:
    env = TaskEnv(GRID_WORLD, start=(0, 0))
    env.reset(0)
    average: NDArray[np.float32] = (UP + DOWN).astype(np.float32) / np.float32(2)
    steps = [env.step(average) for _ in range(GRID_WORLD.horizon)]
    assert [step.truncated for step in steps] == [False] * 99 + [True]
    assert sum(step.reward for step in steps) == 0
    assert not any(step.terminated or step.success for step in steps)


def test_entering_a_deadly_cell_costs_ten_and_ends_the_episode_without_success() -> None:
    env = TaskEnv(GRID_WORLD, layout="three-goals", start=(0, 3))
    env.reset(0)
    first, second = env.step(DOWN), env.step(DOWN)
    assert (first.reward, first.terminated) == (0.0, False)
    assert (second.reward, second.terminated, second.success) == (-10.0, True, False)


def test_a_command_above_half_a_cell_moves_one_cell_and_a_smaller_one_none() -> None:
    env = GridWorldEnv(start=(0, 0))
    env.reset()
    assert move(env, (0.51, 0.49)) == (1, 0)
    assert move(env, (-0.49, -0.51)) == (1, -1)
    assert move(env, (9.0, -9.0)) == (2, -2)


def test_the_border_stops_only_the_axis_towards_it() -> None:
    env = GridWorldEnv(start=(REACH, 0))
    env.reset()
    assert move(env, (1.0, 1.0)) == (REACH, 1)
    assert move(env, (-1.0, 0.0)) == (REACH - 1, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_episodes_begin_in_all_neutral_cells_and_only_there(layout: str) -> None:
    env = GridWorldEnv(layout)
    env.reset(seed=0)
    starts = np.array([env.reset()[0] for _ in range(20 * SIZE**2)], int) + REACH
    seen = np.zeros((SIZE, SIZE), bool)
    seen[starts[:, 1], starts[:, 0]] = True
    np.testing.assert_array_equal(seen, LAYOUTS[layout]() == 0)


def test_the_picture_has_a_square_for_each_cell_with_y_upwards() -> None:
    env = TaskEnv(GRID_WORLD, render_mode="rgb_array", start=(-3, 4))
    env.reset(0)
    picture = env.render()
    assert picture.shape == (400, 400, 3)
    assert picture.dtype == np.uint8
    cells = picture[8::16, 8::16]
    agent = cells[REACH - 4, REACH - 3]
    np.testing.assert_array_equal(np.argwhere((cells == agent).all(axis=-1)), [[REACH - 4, REACH - 3]])
    goals = (cells == cells[0, 0]).all(axis=-1)
    np.testing.assert_array_equal(goals, two_walls() == GOAL_REWARD)
