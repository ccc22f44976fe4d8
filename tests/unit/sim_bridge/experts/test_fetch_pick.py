"""The expert of fetch-pick: its phases, and a real grasp."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_sim.catalogue.manipulation import FETCH_PICK
from odeploy_sim.experts.fetch_pick import FetchPickExpert
from odeploy_sim.tasks.env import Step, TaskEnv

BLOCK = np.array([1.3, 0.85, 0.425])
GOAL = np.array([1.35, 0.65, 0.575])


@pytest.fixture(scope="module")
def env() -> Iterator[TaskEnv]:
    made = TaskEnv(FETCH_PICK)
    yield made
    made.close()


def command(
    env: TaskEnv, gripper: Any, between_m: float, block: NDArray[np.float64] = BLOCK
) -> NDArray[np.float32]:
    """Return the expert's command for a gripper position and a distance between its fingers [m]."""
    parts = gripper, block, block - gripper, [between_m / 2] * 2, [0, 0], GOAL
    return FetchPickExpert(env)(np.concatenate(parts).astype(np.float32))


def play(env: TaskEnv, seed: int, noise_std: float = 0.0) -> Step:
    """Play an episode; return its last step."""
    expert, generator = FetchPickExpert(env), np.random.default_rng(seed)
    observation, done = env.reset(seed), False
    while not done:
        action = expert(observation)
        assert action.shape == (4,)
        assert action.dtype == np.float32
        assert (np.abs(action) <= 1).all()
        noisy = np.clip(action + generator.normal(0, noise_std, 4), -1, 1).astype(np.float32)
        step = env.step(noisy)
        observation, done = step.observation, step.done
    return step


def test_away_from_the_block_it_opens_and_moves_to_a_point_above_it(env: TaskEnv) -> None:
    action = command(env, BLOCK + np.array([0.02, -0.02, 0.02]), between_m=0.0)
    np.testing.assert_allclose(action, 15 * np.array([-0.02, 0.02, 0.03, 1 / 15]), atol=1e-5)


def test_above_the_block_it_descends_only_with_open_fingers(env: TaskEnv) -> None:
    above = BLOCK + np.array([0, 0, 0.05])
    np.testing.assert_allclose(command(env, above, between_m=0.1), [0, 0, -0.75, 1], atol=1e-5)
    np.testing.assert_allclose(command(env, above, between_m=0.06), [0, 0, 0, 1], atol=1e-5)


def test_around_the_block_it_closes_before_it_carries(env: TaskEnv) -> None:
    np.testing.assert_allclose(command(env, BLOCK, between_m=0.1), [0, 0, 0, -1], atol=1e-5)
    off = np.array([0.004, 0, -0.002])  # a possible offset of the block between the fingers
    to_goal = np.clip(15 * (GOAL - BLOCK), -1, 1)
    np.testing.assert_allclose(command(env, BLOCK + off, between_m=0.05), [*to_goal, -1], atol=1e-5)


def test_at_the_goal_it_stays_closed_and_still(env: TaskEnv) -> None:
    off = np.array([0.004, 0, -0.002])
    np.testing.assert_allclose(command(env, GOAL + off, 0.05, block=GOAL), [0, 0, 0, -1], atol=1e-5)


@pytest.mark.parametrize(("level", "noise_std"), [(0.0, 0.0), (1.0, 0.0), (2.25, 0.0), (1.0, 0.1), (2.25, 0.1)])
def test_it_solves_every_level_and_tolerates_noise_on_its_actions(level: float, noise_std: float) -> None:
    env = TaskEnv(FETCH_PICK, level)
    assert all(play(env, seed, noise_std).success for seed in range(6))
    env.close()


def test_at_the_end_only_the_two_fingers_touch_the_block(env: TaskEnv) -> None:
    play(env, 0)
    inside: Any = env.env.unwrapped
    block = inside.model.geom("object0").id
    pairs = [contact.geom for contact in inside.data.contact if block in contact.geom]
    touching = {inside.model.body(inside.model.geom_bodyid[pair[pair != block][0]]).name for pair in pairs}
    assert touching == {"robot0:r_gripper_finger_link", "robot0:l_gripper_finger_link"}


def test_a_dropped_block_is_picked_up_again(env: TaskEnv) -> None:
    expert = FetchPickExpert(env)
    observation = env.reset(0)
    start = observation[3:6].copy()
    for tick in range(50):
        if tick == 12:  # in mid-air: back to its start
            inside: Any = env.env.unwrapped
            assert observation[5] > start[2] + 0.03
            inside.data.joint("object0:joint").qpos[:] = [*start, 1, 0, 0, 0]
            inside.data.joint("object0:joint").qvel[:] = 0
        step = env.step(expert(observation))
        observation = step.observation
    assert step.success
