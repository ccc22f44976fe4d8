"""Terms of the observation against closed forms."""

import math
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.observation import Observation
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Command, Observe
from tests.unit.sim_bridge.mjcf.models import table

ANGLE = 0.5


def observed(folder: Path, *terms: Observe, **fields: Any) -> tuple[Robot, Observation]:
    robot = Robot(table(folder, observe=terms, **fields), "f")
    return robot, Observation(robot)


def place(robot: Robot, qpos: list[float], qvel: list[float] | None = None) -> None:
    robot.data.qpos[:] = qpos
    robot.data.qvel[:] = 0 if qvel is None else qvel
    mujoco.mj_forward(robot.model, robot.data)


def turned(axis: int, angle: float) -> list[float]:
    """The quaternion of a turn about an axis of the world."""
    quaternion = [math.cos(angle / 2), 0.0, 0.0, 0.0]
    quaternion[1 + axis] = math.sin(angle / 2)
    return quaternion


def test_a_term_is_scaled_then_moved_then_clipped(tmp_path: Path) -> None:
    robot, observation = observed(tmp_path, Observe("joint_pos", scale=2, offset=1, clip=(-1.5, 1.5)))
    place(robot, [0, 0, 1, 1, 0, 0, 0, 0.2, -0.4])
    np.testing.assert_allclose(observation.read(), [1.4, 0.2])
    place(robot, [0, 0, 1, 1, 0, 0, 0, 0.9, -1.5])
    np.testing.assert_allclose(observation.read(), [1.5, -1.5])
    hip, knee = observation.signals
    assert (hip.name, hip.unit, hip.high) == ("hip_angle", "0.5 rad", 1.5)
    assert hip.low == pytest.approx(1 - 2 * math.pi / 3)
    assert (knee.low, knee.high) == (-1.5, 1)


def test_a_negative_scale_swaps_the_limits(tmp_path: Path) -> None:
    _, observation = observed(tmp_path, Observe("joint_pos", joints=("knee",), scale=-1))
    [knee] = observation.signals
    assert knee.low == 0
    assert knee.high == pytest.approx(math.pi / 2)


def test_joints_are_relative_to_the_pose_of_the_reset(tmp_path: Path) -> None:
    robot, observation = observed(tmp_path, Observe("joint_pos", relative=True), Observe("joint_vel"))
    place(robot, [0, 0, 1, 1, 0, 0, 0, 0.5, -0.5], [0, 0, 0, 0, 0, 0, 3, 4])
    np.testing.assert_allclose(observation.read(), [0.3, -0.1, 3, 4])
    assert observation.signals[0].high == pytest.approx(math.pi / 3 - 0.2)
    assert [s.name for s in observation.signals[2:]] == ["hip_angular_velocity", "knee_angular_velocity"]


@pytest.mark.parametrize(
    ("axis", "gravity"),
    [
        (0, [0, -math.sin(ANGLE), -math.cos(ANGLE)]),
        (1, [math.sin(ANGLE), 0, -math.cos(ANGLE)]),
        (2, [0, 0, -1]),
    ],
)
def test_projected_gravity_of_a_turn_about_each_axis(tmp_path: Path, axis: int, gravity: list[float]) -> None:
    robot, observation = observed(tmp_path, Observe("projected_gravity"))
    place(robot, [0, 0, 1, *turned(axis, ANGLE), 0, 0])
    np.testing.assert_allclose(observation.read(), gravity, atol=1e-12)


def test_velocities_of_the_base_are_in_its_own_frame(tmp_path: Path) -> None:
    terms = Observe("base_linear_velocity"), Observe("base_angular_velocity"), Observe("sensor", of="gyro")
    robot, observation = observed(tmp_path, *terms)
    # The base faces along y; MuJoCo states its velocity in the world, and its turning in the body.
    place(robot, [0, 0, 1, *turned(2, math.pi / 2), 0, 0], [1, 0, 2, 0.1, 0.2, 0.3, 0, 0])
    np.testing.assert_allclose(observation.read(), [0, -1, 2, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3], atol=1e-12)
    assert [s.name for s in observation.signals[6:]] == ["gyro_x", "gyro_y", "gyro_z"]


def test_positions_and_height(tmp_path: Path) -> None:
    terms = (
        Observe("position", of="foot"),
        Observe("position", of="foot", minus="trunk"),
        Observe("base_height"),
    )
    robot, observation = observed(tmp_path, *terms)
    place(robot, [1, 2, 3, 1, 0, 0, 0, math.pi / 2, 0])
    np.testing.assert_allclose(observation.read(), [0.7, 2, 3, -0.3, 0, 0, 3], atol=1e-12)
    assert observation.signals[3].name == "foot_minus_trunk_x"


def test_command_and_previous_action_are_those_of_the_simulation(tmp_path: Path) -> None:
    command = Command(("speed", "turn"), (-1.0, 0.0), (1.0, 2.0), "m/s")
    robot, observation = observed(
        tmp_path, Observe("command", scale=2), Observe("previous_action"), command=(command,)
    )
    robot.reset(np.random.default_rng(0))
    first = robot.commanded.copy()
    assert -1 <= first[0] <= 1
    assert 0 <= first[1] <= 2
    np.testing.assert_allclose(observation.read(), [*2 * first, 0, 0])
    robot.advance(np.array([0.5, -0.25]), 0.02)
    np.testing.assert_allclose(observation.read(), [*2 * first, 0.5, -0.25])
    assert [s.name for s in observation.signals] == [
        "speed",
        "turn",
        "previous_hip_target",
        "previous_knee_target",
    ]
    assert (observation.signals[0].low, observation.signals[0].high) == (-2, 2)


def test_the_phase_is_sine_and_cosine_of_the_time_since_the_reset(tmp_path: Path) -> None:
    terms = Observe("phase", period_s=0.8), Observe("phase", period_s=0.8, start=0.5, parts=("cos",))
    robot, observation = observed(tmp_path, *terms)
    for tick in range(60):
        angle = 2 * math.pi * tick * 0.02 / 0.8
        np.testing.assert_allclose(
            observation.read(), [math.sin(angle), math.cos(angle), -math.cos(angle)], atol=1e-9
        )
        robot.advance(np.zeros(2), 0.02)
    assert [s.name for s in observation.signals] == [
        "phase_0.8_s_sin",
        "phase_0.8_s_cos",
        "phase_0.8_s_from_0.5_cos",
    ]


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        (Observe("joint_position"), MissingError, r"observe\[0\].term: expected a known term: joint_pos"),
        (Observe("sensor", of="gyros"), MissingError, "expected a known sensor: gyro, got gyros"),
        (Observe("sensor"), FormatError, r"observe\[0\].of: expected the name that sensor reads"),
        (Observe("position", of="foott"), MissingError, "expected a known site or body: foot, got foott"),
        (Observe("joint_pos", joints=("nee",)), MissingError, "expected a known joint: knee, got nee"),
        (Observe("command"), FormatError, "expected a command in the task file"),
        (Observe("phase"), FormatError, "the period of the clock, above 0 s, got None"),
        (Observe("joint_pos", clip=(1.0, -1.0)), FormatError, "clip with the lower number first"),
        (Observe("joint_pos", scale=0), FormatError, "a scale that is not 0"),
    ],
)
def test_a_wrong_term_is_refused(tmp_path: Path, term: Observe, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        observed(tmp_path, term)


def test_no_terms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="at least one signal"):
        observed(tmp_path)
