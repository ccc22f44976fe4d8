"""Arm-track: signals are the model's; the PD law works at the servo's rate and fails at the policy's."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_sim.catalogue.arm_track import ARM_TRACK
from odeploy_sim.environments.arm_track import NEAR_M, RANGE_RAD, SERVO
from odeploy_sim.experts.arm_track import ArmTrackExpert
from odeploy_sim.tasks.env import Step, TaskEnv


@pytest.fixture
def env() -> Iterator[TaskEnv]:
    with closing(TaskEnv(ARM_TRACK)) as made:
        yield made


def inside(env: TaskEnv) -> Any:
    return env.env.unwrapped


def errors_m(actuation: Actuation, seed: int = 0) -> tuple[NDArray[np.float64], Step]:
    """Return the expert's error at each tick, and its last step."""
    with closing(TaskEnv(ARM_TRACK, actuation=actuation)) as env:
        expert, observation, errors = ArmTrackExpert(env), env.reset(seed), []
        while True:
            step = env.step(expert(observation))
            observation = step.observation
            errors.append(-step.reward)
            if step.done:
                return np.array(errors), step


def test_the_signals_are_those_of_the_model(env: TaskEnv) -> None:
    seen = env.step(np.array([0.3, -0.2], np.float32)).observation
    data = inside(env).data
    sensed = dict(zip(ARM_TRACK.observation_names, seen, strict=True))
    for joint in ("shoulder", "elbow"):
        assert sensed[f"{joint}_angle"] == pytest.approx(data.joint(joint).qpos[0])
        assert sensed[f"{joint}_angular_velocity"] == pytest.approx(data.joint(joint).qvel[0])
    assert [sensed["target_x"], sensed["target_y"]] == pytest.approx(inside(env).point_m(0.04).tolist())
    assert inside(env).dt == pytest.approx(1 / ARM_TRACK.rate_hz)
    assert inside(env).model.opt.timestep == ARM_TRACK.physics_step_s
    assert [a.name for a in ARM_TRACK.action] == [
        f"{inside(env).model.joint(inside(env).model.actuator(i).trnid[0]).name}_setpoint" for i in range(2)
    ]


def test_a_start_depends_only_on_the_seed(env: TaskEnv) -> None:
    first, again, other = (env.reset(seed) for seed in (4, 4, 5))
    assert (first == again).all()
    assert (first != other).any()


def test_commands_beyond_the_range_are_clamped(env: TaskEnv) -> None:
    ends = []
    for action in ([9.0, -9.0], [RANGE_RAD, -RANGE_RAD]):
        env.reset(0)
        ends.append(env.step(np.array(action, np.float32)).observation)
    np.testing.assert_array_equal(ends[0], ends[1])


def test_the_servo_reaches_a_constant_setpoint(env: TaskEnv) -> None:
    for _ in range(25):
        seen = env.step(np.array([0.4, -0.3], np.float32)).observation
    np.testing.assert_allclose(seen[:4], [0.4, 1.3, 0, 0], atol=2e-3)


def test_an_expert_at_25_hz_follows_the_point_when_the_law_runs_at_500_hz() -> None:
    errors, last = errors_m(SERVO)
    assert last.success
    assert (errors[25:] < NEAR_M).all()
    assert errors[25:].mean() < 0.005


def test_the_same_law_at_the_policys_own_rate_is_unstable() -> None:
    errors, last = errors_m(replace(SERVO, rate_hz=25.0, interpolation="hold"))
    assert not last.success
    assert errors[25:].mean() > 0.05


def test_a_still_arm_does_not_succeed(env: TaskEnv) -> None:
    env.reset(0)
    steps = [env.step(np.zeros(2, np.float32)) for _ in range(ARM_TRACK.horizon)]
    assert steps[-1].truncated
    assert not steps[-1].success


def test_the_drawn_target_is_the_observed_target(env: TaskEnv) -> None:
    """MuJoCo treats a site at its body's origin as fixed to it."""
    observed = env.reset(3)[-2:]
    for _ in range(5):
        step = env.step(np.zeros(2, np.float32))
        np.testing.assert_allclose(inside(env).data.site("target").xpos[:2], observed, atol=0.01)
        observed = step.observation[-2:]
