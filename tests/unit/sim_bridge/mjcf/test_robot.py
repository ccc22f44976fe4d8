"""A robot's reset, its command and the limits of its action."""

import math
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Command, Pd
from tests.unit.sim_bridge.mjcf.models import LEG, table

GOAL = Command(("goal_x", "goal_y", "goal_z"), (0.0, 1.0, 2.0), (1.0, 2.0, 3.0), "m", marker="goal")


def test_the_reset_adds_noise_within_its_bounds_and_the_joints_ranges(tmp_path: Path) -> None:
    robot = Robot(table(tmp_path, position_noise=0.5, velocity_noise=0.3), "f")
    positions, speeds = [], []
    for seed in range(40):
        robot.reset(np.random.default_rng(seed))
        positions.append(robot.data.qpos[7:].copy())
        speeds.append(robot.data.qvel[6:].copy())
    hip, knee = np.array(positions).T
    assert np.abs(hip - 0.2).max() <= 0.5
    assert np.ptp(hip) > 0.5
    assert knee.max() == 0  # the end of its range
    assert 0.1 < np.abs(speeds).max() <= 0.3


def test_the_same_seed_is_the_same_episode(tmp_path: Path) -> None:
    robot = Robot(table(tmp_path, position_noise=0.5, command=(GOAL,)), "f")
    states = []
    for seed in (1, 2, 1):
        robot.reset(np.random.default_rng(seed))
        states.append(np.concatenate([robot.data.qpos, robot.commanded]))
    assert np.array_equal(states[0], states[2])
    assert not np.array_equal(states[0], states[1])


def test_a_marker_shows_the_command(tmp_path: Path) -> None:
    robot = Robot(table(tmp_path, command=(GOAL,)), "f")
    robot.reset(np.random.default_rng(0))
    np.testing.assert_allclose(robot.data.body("goal").xpos, robot.commanded)


def test_the_action_of_the_models_actuators_has_their_names_units_and_limits(tmp_path: Path) -> None:
    hip, knee = Robot(table(tmp_path), "f").action
    assert (hip.name, hip.unit, hip.low, hip.high) == ("hip_target", "rad", -1, 1)
    assert (knee.low, knee.high) == (-1.5, 0)


def test_setpoints_are_limited_by_the_joints_ranges_relative_to_the_pose(tmp_path: Path) -> None:
    robot = Robot(table(tmp_path, pd=Pd(40.0, 1.0, scale=0.5)), "f")
    hip, knee = robot.action
    assert (hip.name, hip.unit) == ("hip_setpoint", "0.5 rad")
    assert hip.high == pytest.approx((math.pi / 3 - 0.2) / 0.5)
    assert knee.high == pytest.approx(0.4 / 0.5)
    np.testing.assert_allclose(robot.controls(np.array([1, -1])), [0.5, -0.5])


@pytest.mark.parametrize(
    ("model", "pd", "message"),
    [
        (LEG.replace('ctrlrange="-1 1" ', ""), None, "actuator hip: expected a ctrlrange"),
        (LEG[: LEG.index("<actuator>")] + LEG[LEG.index("<keyframe>") :], None, "expected actuators, got none"),
        (LEG.replace(' range="-60 60"', ""), Pd(1.0, 0.1), "joint hip: expected a range"),
        (LEG, Pd(-1.0, 0.1), "gains are not negative"),
        (LEG, Pd(1.0, 0.1, rate_hz=300), "a rate that divides that of the physics, 500 Hz, got 300 Hz"),
        (LEG, Pd(1.0, 0.1, scale=0), "a positive scale, got scale 0"),
    ],
)
def test_an_action_without_limits_or_gains_is_refused(
    tmp_path: Path, model: str, pd: Pd | None, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        Robot(table(tmp_path, model, pd=pd), "f")


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        (Command(("x",), (0.0,), ()), FormatError, "as many numbers in low and high as names, got 1 and 0 for 1"),
        (Command(("x",), (1.0,), (0.0,)), FormatError, r"command\[0\], x: expected low below high, got 1 and 0"),
        (Command(("x",), (0.0,), (1.0,), marker="goal"), FormatError, "a command of x, y and z, got 1"),
        (Command(("x",), (0.0,), (1.0,), marker="trunk"), MissingError, 'body with mocap="true": goal, got trunk'),
    ],
)
def test_an_impossible_command_is_refused(
    tmp_path: Path, command: Command, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Robot(table(tmp_path, command=(command,)), "f")
