"""The expert of the reachers: its geometry against dm_control's, and its time to the target."""

from collections.abc import Iterator

import numpy as np
import pytest

from odeploy_sim.catalogue.control_suite import REACHER_EASY, REACHER_HARD
from odeploy_sim.experts.reacher import ReacherExpert, finger
from odeploy_sim.tasks.env import TaskEnv


@pytest.fixture(scope="module", params=[REACHER_EASY, REACHER_HARD], ids=lambda task: task.name)
def env(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(request.param)
    yield made
    made.close()


def test_the_computed_finger_position_is_the_models(env: TaskEnv) -> None:
    for seed in range(5):
        angles = env.reset(seed)[:2].astype(np.float64)
        truth = env.env.unwrapped.physics.named.data.geom_xpos["finger"][:2]  # type: ignore[attr-defined]
        np.testing.assert_allclose(finger(angles), truth, atol=1e-7)


def test_both_elbows_reach_the_target(env: TaskEnv) -> None:
    for seed in range(5):
        observation = env.reset(seed).astype(np.float64)
        q, target = observation[:2], finger(observation[:2]) + observation[2:4]
        for turn in ReacherExpert._turns(q, target):
            np.testing.assert_allclose(finger(q + turn), target, atol=1e-12)
            assert abs(turn[0]) <= np.pi


def test_on_the_target_it_only_brakes(env: TaskEnv) -> None:
    at_target = np.array([0.7, -1.1, 0, 0, 0.4, -0.2], np.float32)
    np.testing.assert_allclose(ReacherExpert(env)(at_target), [-0.2, 0.1], atol=1e-6)


def test_the_finger_is_on_the_target_within_a_second_and_stays(env: TaskEnv) -> None:
    expert = ReacherExpert(env)
    for seed in range(4):
        observation, rewards = env.reset(seed), []
        for _ in range(env.task.horizon):
            step = env.step(expert(observation))
            observation = step.observation
            rewards.append(step.reward)
        assert set(rewards[50:]) == {1.0}
