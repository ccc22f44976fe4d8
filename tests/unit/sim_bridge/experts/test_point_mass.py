"""The expert of point-mass: it brakes, and its return is that of the fastest path to the middle."""

from collections.abc import Iterator

import numpy as np
import pytest

from odeploy_sim.catalogue.control_suite import POINT_MASS
from odeploy_sim.experts.point_mass import PointMassExpert
from odeploy_sim.tasks.env import TaskEnv


@pytest.fixture(scope="module")
def env() -> Iterator[TaskEnv]:
    made = TaskEnv(POINT_MASS)
    yield made
    made.close()


def test_it_pushes_towards_the_middle_and_brakes_at_speed(env: TaskEnv) -> None:
    expert = PointMassExpert(env)
    np.testing.assert_allclose(expert(np.array([0.005, -0.002, 0, 0], np.float32)), [-0.5, 0.2], atol=1e-6)
    np.testing.assert_allclose(expert(np.array([0, 0, -0.01, 0.02], np.float32)), [0.2, -0.4], atol=1e-6)
    np.testing.assert_array_equal(expert(np.array([0.2, -0.2, 0, 0], np.float32)), [-1, 1])


def test_the_damping_ratio_is_the_documented_one(env: TaskEnv) -> None:
    """m x'' + (c + F D) x' + F P x = 0: the ratio is (c + F D) / (2 sqrt(m F P))."""
    model = env.env.unwrapped.physics.model  # type: ignore[attr-defined]
    mass, damping, force = model.body_mass[1], model.dof_damping[0], model.actuator_gear[0, 0]
    assert (mass, damping, force) == (0.3, 1.0, 0.1)
    ratio = (damping + force * PointMassExpert.D_GAIN) / (2 * np.sqrt(mass * force * PointMassExpert.P_GAIN))
    assert ratio == pytest.approx(0.87, abs=0.005)


def test_its_return_is_the_time_left_after_the_fastest_path(env: TaskEnv) -> None:
    """From rest at full force x(t) = v (t - τ (1 - exp(-t / τ))), v = F / c = 0.1 m/s and τ = m / c = 0.3 s.

    The target has a radius of 1.5 cm; the partial reward within 3 cm adds about 4 ticks.
    """
    expert = PointMassExpert(env)
    t = np.arange(1, POINT_MASS.horizon + 1) / POINT_MASS.rate_hz
    covered_m = 0.1 * (t - 0.3 * (1 - np.exp(-t / 0.3)))
    for seed in range(4):
        observation, total = env.reset(seed), 0.0
        way_m = np.abs(observation[:2]).max()
        for _ in range(POINT_MASS.horizon):
            step = env.step(expert(observation))
            observation, total = step.observation, total + step.reward
        assert step.truncated
        assert total == pytest.approx((covered_m >= way_m - 0.015).sum() + 4, abs=2)
