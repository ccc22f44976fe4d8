"""Tasks: raw observations become signals in order, and a noise level has its range."""

import dataclasses

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM


def test_a_dictionary_is_flattened_in_the_order_of_the_tasks_keys() -> None:
    raw = {
        "achieved_goal": np.array([9.0, 9.0]),
        "desired_goal": np.array([5.0, 6.0]),
        "observation": np.array([1.0, 2.0, 3.0, 4.0]),
    }
    flat = MAZE_MEDIUM.flatten(raw)
    assert flat.dtype == np.float32
    np.testing.assert_array_equal(flat, [1, 2, 3, 4, 5, 6])


def test_a_stack_of_observations_is_flattened_row_by_row() -> None:
    raw = {"observation": np.arange(12.0).reshape(3, 4), "desired_goal": np.arange(6.0).reshape(3, 2)}
    stacked = MAZE_MEDIUM.flatten(raw)
    assert stacked.shape == (3, 6)
    for i in range(3):
        np.testing.assert_array_equal(stacked[i], MAZE_MEDIUM.flatten({key: rows[i] for key, rows in raw.items()}))


def test_an_array_is_already_flat() -> None:
    np.testing.assert_array_equal(HOPPER.flatten(np.arange(11.0)), np.arange(11, dtype=np.float32))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(KeyError, match="desired_goal"):
        MAZE_MEDIUM.flatten({"observation": np.zeros(4)})


def test_names_are_those_of_the_signals_in_order() -> None:
    assert MAZE_MEDIUM.action_names == ("motor_x", "motor_y")
    assert MAZE_MEDIUM.observation_names[-2:] == ("goal_x", "goal_y")


def test_a_task_with_a_success_key_is_scored_by_success_and_one_without_by_return() -> None:
    assert (MAZE_MEDIUM.scored_by, HOPPER.scored_by) == ("success", "return")


@pytest.mark.parametrize("level", [-0.1, 1.7, np.nan, np.inf])
def test_a_noise_level_out_of_range_is_refused_with_the_quantity_it_scales(level: float) -> None:
    with pytest.raises(UsageError, match=r"a level from 0 to 1.6 for maze-medium, which scales how far"):
        MAZE_MEDIUM.arguments(level)


def test_a_task_without_noise_accepts_only_level_1() -> None:
    assert HOPPER.arguments(1.0) == {}
    with pytest.raises(UsageError, match="hopper has no noise to scale"):
        HOPPER.arguments(1.5)


def test_an_action_without_limits_is_refused_by_name() -> None:
    free = dataclasses.replace(HOPPER.action[0], high=None)
    with pytest.raises(ContractError, match=f"low and high of each action signal, got {free.name} without them"):
        dataclasses.replace(HOPPER, action=(free, *HOPPER.action[1:]))


def test_the_safe_action_is_zero_or_the_middle_of_limits_without_zero() -> None:
    limits = (Signal("lift", "m", 0.2, 0.4), Signal("turn", "rad", -1.0, 1.0))
    safe = dataclasses.replace(HOPPER, action=limits, safe_action=()).safe_action
    np.testing.assert_allclose(safe, (0.3, 0.0))
