"""Rewards, ends and success against closed forms."""

import math
from pathlib import Path

import mujoco
import numpy as np
import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.rewards import ended, reward, solved
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Command, End, Reward, Success
from tests.unit.sim_bridge.mjcf.models import table

ACTION = np.array([0.5, -1.0])
SPEED = Command(("speed",), (0.0,), (1.0,), "m/s")


def moving(robot: Robot) -> Robot:
    """Let the base, which faces along y, move at 0.7 m/s along it and turn at 2 rad/s."""
    half = math.sqrt(0.5)
    robot.data.qpos[:] = [0, 0, 1, half, 0, 0, half, 0, 0]
    robot.data.qvel[:] = [0, 0.7, 0, 0, 0, 2, 0, 0]
    mujoco.mj_forward(robot.model, robot.data)
    return robot


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        ((Reward("alive", 0.5),), 0.5),
        ((Reward("action_cost", 0.1),), -0.125),
        ((Reward("velocity"),), 0.7),
        ((Reward("velocity", 2, axis="yaw"),), 4.0),
        ((Reward("velocity", command="speed", width=0.5),), math.exp(-(0.4**2))),
        ((Reward("distance", of="trunk", to="foot"),), -0.3),
        ((Reward("distance", of="trunk", to="foot", width=0.6),), math.exp(-0.25)),
        ((Reward("alive"), Reward("velocity", 3), Reward("action_cost", 0.1)), 1 + 2.1 - 0.125),
        ((), 0.0),
    ],
)
def test_a_reward_is_the_weighted_sum_of_its_terms(
    tmp_path: Path, terms: tuple[Reward, ...], value: float
) -> None:
    robot = moving(Robot(table(tmp_path, reward=terms, command=(SPEED,)), "f"))
    robot.commanded[:] = 0.5
    assert reward(robot)(ACTION) == pytest.approx(value)


@pytest.mark.parametrize(
    ("height", "tilt", "over"), [(0.6, 0.3, False), (0.4, 0.3, True), (0.6, 0.8, True), (0.6, -0.8, True)]
)
def test_an_episode_ends_if_the_base_is_too_low_or_leans_too_far(
    tmp_path: Path, height: float, tilt: float, over: bool
) -> None:
    robot = Robot(table(tmp_path, end=End(base_height_m=0.5, tilt_rad=0.7)), "f")
    robot.data.qpos[:7] = [0, 0, height, math.cos(tilt / 2), math.sin(tilt / 2), 0, 0]
    mujoco.mj_forward(robot.model, robot.data)
    assert ended(robot)() is over


def test_without_ends_an_episode_lasts(tmp_path: Path) -> None:
    robot = Robot(table(tmp_path), "f")
    robot.data.qpos[2:7] = [-9, 0, 1, 0, 0]
    mujoco.mj_forward(robot.model, robot.data)
    assert not ended(robot)()


def test_success_is_nearness(tmp_path: Path) -> None:
    near, far = (Robot(table(tmp_path, success=Success("trunk", "foot", m)), "f") for m in (0.31, 0.29))
    for robot, is_solved in ((near, True), (far, False)):
        check = solved(robot)
        assert check is not None
        assert check() is is_solved
    assert solved(Robot(table(tmp_path), "f")) is None


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        (Reward("aliev"), MissingError, r"f at mjcf.reward\[0\].term: expected a known term: alive, got aliev"),
        (Reward("velocity", command="sped", width=1), MissingError, "expected a known command: speed, got sped"),
        (Reward("velocity", command="speed"), FormatError, "falls to 1/e, above 0, got None"),
        (Reward("distance", of="foot"), FormatError, r"reward\[0\].to: expected a site or body, got none"),
    ],
)
def test_a_wrong_term_is_refused(tmp_path: Path, term: Reward, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        reward(Robot(table(tmp_path, reward=(term,), command=(SPEED,)), "f"))
