"""Names of kitchens, and names of their signals against the model's joints."""

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

from odeploy_runtime.errors import MissingError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue.kitchen import SUBTASKS, kitchen, parse
from odeploy_sim.tasks.env import TaskEnv


@pytest.fixture(scope="module")
def env() -> Iterator[TaskEnv]:
    made = TaskEnv(kitchen(), noise_level=0)
    yield made
    made.close()


def inside(env: TaskEnv) -> Any:
    return env.env.unwrapped


def sensed(env: TaskEnv) -> Any:
    """Return the current observation, without a tick."""
    original = inside(env).inside
    return original._get_obs(original.robot_env._get_obs())["observation"]


def moved(env: TaskEnv, state: Any, address: int) -> tuple[str, str]:
    """Return name and unit of the only signal that changes with one number of the simulation's state."""
    before = sensed(env)
    state[address] += 0.25
    (i,) = np.flatnonzero(sensed(env) - before)
    state[address] -= 0.25
    return env.task.observation[i].name, env.task.observation[i].unit


def test_every_joint_of_the_model_is_observed_under_its_name_and_in_its_unit(env: TaskEnv) -> None:
    env.reset(0)
    model, data = inside(env).model, inside(env).data
    found = []
    for joint in (model.joint(i) for i in range(model.njnt - 1)):
        turns = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
        position = moved(env, data.qpos, joint.qposadr[0])
        velocity = moved(env, data.qvel, joint.dofadr[0])
        assert position == ((f"{joint.name}_angle", "rad") if turns else (f"{joint.name}_position", "m"))
        assert velocity == (
            (f"{joint.name}_angular_velocity", "rad/s") if turns else (f"{joint.name}_velocity", "m/s")
        )
        found += [position[0], velocity[0]]
    kettle = model.joint("kettle")
    assert (kettle.id, kettle.type[0]) == (model.njnt - 1, mujoco.mjtJoint.mjJNT_FREE)
    names = [f"kettle_{axis}" for axis in "xyz"] + [f"kettle_quaternion_{part}" for part in "wxyz"]
    assert [moved(env, data.qpos, kettle.qposadr[0] + i)[0] for i in range(7)] == names
    rates = [f"kettle_velocity_{axis}" for axis in "xyz"] + [f"kettle_{axis}_angular_velocity" for axis in "xyz"]
    assert [moved(env, data.qvel, kettle.dofadr[0] + i)[0] for i in range(6)] == rates
    assert sorted(found + names + rates) == sorted(env.task.observation_names)


def test_each_command_moves_its_joints_servo_by_its_unit_times_a_tick(env: TaskEnv) -> None:
    model, data = inside(env).model, inside(env).data
    for i, signal in enumerate(env.task.action):
        sign = -1 if i in (5, 7, 8) else 1  # away from the servo's limit
        observation = env.reset(0)
        env.step(sign * np.eye(9, dtype=np.float32)[i])
        target = data.ctrl - observation[:9]
        joint = model.joint(model.actuator(i).trnid[0])
        turns = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
        name, unit = ("angular_velocity", "2 rad/s") if turns else ("velocity", "2 m/s")
        assert (signal.name, signal.unit) == (f"{joint.name}_{name}", unit)
        if turns:
            assert target[i] == pytest.approx(sign * 2 / env.task.rate_hz, rel=1e-5)
        else:  # 16 cm exceed the finger's range
            assert data.ctrl[i] == 0
        others = np.delete(np.arange(9), [i, *np.flatnonzero(observation[:9] > model.actuator_ctrlrange[:, 1])])
        np.testing.assert_allclose(target[others], 0, atol=1e-6)


def test_limits_rate_and_physics_step_are_the_models(env: TaskEnv) -> None:
    space: Any = env.env.action_space
    np.testing.assert_array_equal(lows(env.task.action), space.low)
    np.testing.assert_array_equal(highs(env.task.action), space.high)
    robot = inside(env).inside.robot_env
    assert robot.dt == pytest.approx(1 / env.task.rate_hz, rel=1e-12)
    assert robot.model.opt.timestep == env.task.physics_step_s


def test_subtasks_are_the_originals_and_concern_the_joints_in_their_names(env: TaskEnv) -> None:
    assert [name.replace("-", " ") for name in SUBTASKS] == list(OBS_ELEMENT_GOALS)
    model = inside(env).model
    joint_at = {int(model.joint(i).qposadr[0]): model.joint(i).name for i in range(model.njnt)}
    concerned = {name: [joint_at[i] for i in at if i in joint_at] for name, at in OBS_ELEMENT_INDICES.items()}
    assert concerned == {
        "bottom burner": ["knob_Joint_2", "bottom_left_burner"],
        "top burner": ["knob_Joint_4", "top_left_burner"],
        "light switch": ["light_switch", "light_joint"],
        "slide cabinet": ["slide_cabinet"],
        "hinge cabinet": ["left_hinge_cabinet", "right_hinge_cabinet"],
        "microwave": ["microwave"],
        "kettle": ["kettle"],
    }


def test_all_seven_are_the_kitchen_scored_by_its_return() -> None:
    for task in (kitchen(), parse("kitchen"), kitchen(SUBTASKS[::-1]), parse("kitchen:" + "+".join(SUBTASKS))):
        assert task is not None
        assert (task.name, task.scored_by) == ("kitchen", "return")
        assert task.make_arguments["subtasks"] == list(OBS_ELEMENT_GOALS)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("kitchen:microwave", "kitchen:microwave"),
        ("kitchen:kettle+microwave", "kitchen:microwave+kettle"),
        ("kitchen:kettle+kettle", "kitchen:kettle"),
        ("kitchen:slide cabinet + light switch", "kitchen:light-switch+slide-cabinet"),
        ("kitchen:light-switch", "kitchen:light-switch"),
    ],
)
def test_a_choice_has_one_name_in_any_notation(given: str, canonical: str) -> None:
    task = parse(given)
    assert task is not None
    assert (task.name, task.scored_by) == (canonical, "return" if "+" in canonical else "success")
    assert parse(canonical) == task


def test_the_environment_of_a_choice_has_exactly_its_subtasks() -> None:
    task = parse("kitchen:kettle+light-switch")
    assert task is not None
    made = TaskEnv(task)
    assert inside(made).inside.tasks_to_complete == {"kettle", "light switch"}
    made.close()


@pytest.mark.parametrize("name", ["maze-medium", "kitchenette", "kitchens:kettle", "", "kettle"])
def test_the_name_of_another_task_is_no_kitchen(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize(
    ("name", "got", "suggestion"),
    [
        ("kitchen:mikrowave", "'mikrowave'", "microwave"),
        ("kitchen:kettle+burner", "'burner'", "top-burner"),
        ("kitchen:", "''", "bottom-burner"),
        ("kitchen:kettle+", "''", "kettle"),
        ("kitchen:xyz", "'xyz'", "kettle"),
    ],
)
def test_an_unknown_subtask_is_refused_with_the_nearest_ones(name: str, got: str, suggestion: str) -> None:
    with pytest.raises(MissingError) as raised:
        parse(name)
    assert raised.value.got == got
    assert suggestion in raised.value.expected


def test_a_kitchen_without_subtasks_is_refused() -> None:
    with pytest.raises(MissingError):
        kitchen([])
