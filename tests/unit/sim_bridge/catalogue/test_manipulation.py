"""Hand, arm and ant of FM-IRL: sizes, limits and levels are the simulations'."""

from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue.locomotion import ANT_GOAL
from odeploy_sim.catalogue.manipulation import FETCH_PICK, HAND_ROTATE
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task

OWN = (ANT_GOAL, HAND_ROTATE, FETCH_PICK)
each_task = pytest.mark.parametrize("task", OWN, ids=[task.name for task in OWN])


@pytest.mark.parametrize(
    ("task", "observations", "actions"), [(ANT_GOAL, 31, 8), (HAND_ROTATE, 68, 20), (FETCH_PICK, 16, 4)]
)
def test_sizes_and_horizons_are_as_documented(task: Task, observations: int, actions: int) -> None:
    assert (len(task.observation), len(task.action), task.horizon) == (observations, actions, 50)
    assert "FM-IRL" in task.paper


@each_task
def test_names_are_unique_and_every_signal_has_a_unit(task: Task) -> None:
    for names, signals in ((task.observation_names, task.observation), (task.action_names, task.action)):
        assert len(set(names)) == len(names)
        assert all(signal.unit for signal in signals)


@each_task
def test_limits_of_commands_are_the_simulations_and_the_safe_action_is_within(task: Task) -> None:
    env = TaskEnv(task)
    space: Any = env.env.action_space
    np.testing.assert_array_equal(lows(task.action), space.low)
    np.testing.assert_array_equal(highs(task.action), space.high)
    assert space.contains(np.array(task.safe_action, np.float32))
    env.close()


@each_task
def test_at_the_lowest_and_highest_level_episodes_run_and_stay_within_limits(task: Task) -> None:
    assert task.noise is not None
    generator = np.random.default_rng(0)
    for level in (0.0, task.noise.highest):
        env = TaskEnv(task, level)
        for seed in range(3):
            seen = [env.reset(seed)]
            for _ in range(10):
                step = env.step(generator.uniform(-1, 1, len(task.action)).astype(np.float32))
                seen.append(step.observation)
            assert (np.array(seen) >= lows(task.observation)).all()
            assert (np.array(seen) <= highs(task.observation)).all()
        assert env.invalid_episodes == 0
        env.close()


@each_task
def test_level_one_is_the_catalogued_task_and_other_levels_scale_its_noise(task: Task) -> None:
    def start(**arguments: Any) -> bytes:
        env = TaskEnv(task, **arguments)
        seen = env.reset(3).tobytes()
        env.close()
        return seen

    assert task.noise is not None
    assert start(noise_level=1.0) == start() == start(**{task.noise.argument: task.noise.unit})
    assert start(noise_level=0.5) == start(**{task.noise.argument: 0.5 * task.noise.unit}) != start()


@each_task
@pytest.mark.parametrize("beyond", [-0.5, 5.5])
def test_a_level_out_of_the_tasks_range_is_refused_with_the_range(task: Task, beyond: float) -> None:
    assert task.noise is not None
    with pytest.raises(UsageError, match=f"a level from 0 to {task.noise.highest:g} for {task.name}"):
        task.arguments(beyond)
