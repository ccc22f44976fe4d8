"""Walking and running robots, and a point on a plane: every name is checked by moving its quantity."""

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue.locomotion import HALFCHEETAH, HUMANOID
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from odeploy_sim.tasks.env import TaskEnv

AXES = "xyz"


@pytest.fixture(scope="module", params=[HALFCHEETAH, HUMANOID, MULTIGOAL], ids=lambda task: task.name)
def each(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def humanoid() -> Iterator[TaskEnv]:
    made = TaskEnv(HUMANOID)
    yield made
    made.close()


def inside(env: TaskEnv) -> Any:
    return env.env.unwrapped


def falling(env: TaskEnv) -> dict[str, float]:
    """Return the humanoid's observation by name, in mid-air and turning, all from one instant."""
    env.reset(2)
    model, data, generator = inside(env).model, inside(env).data, np.random.default_rng(3)
    data.qpos[2] = 3.0
    data.qpos[3:7] = [0.8, 0.0, 0.6, 0.0]
    data.qpos[7:] = generator.uniform(-0.4, 0.4, model.nq - 7)
    data.qvel[:] = generator.normal(size=model.nv)
    return now(env)


def now(env: TaskEnv) -> dict[str, float]:
    model, data = inside(env).model, inside(env).data
    mujoco.mj_forward(model, data)
    mujoco.mj_rnePostConstraint(model, data)
    return dict(zip(env.task.observation_names, inside(env)._get_obs().tolist(), strict=True))


def three(seen: dict[str, float], prefix: str) -> NDArray[np.float64]:
    return np.array([seen[f"{prefix}_{axis}"] for axis in AXES])


def test_limits_rate_and_physics_step_are_the_models(each: TaskEnv) -> None:
    space: Any = each.env.action_space
    np.testing.assert_array_equal(lows(each.task.action), space.low)
    np.testing.assert_array_equal(highs(each.task.action), space.high)
    assert inside(each).dt == pytest.approx(1 / each.task.rate_hz, rel=1e-12)
    assert inside(each).model.opt.timestep == each.task.physics_step_s
    assert not {each.task.camera} - {inside(each).model.camera(i).name for i in range(inside(each).model.ncam)}


@pytest.mark.parametrize("task", [HALFCHEETAH, HUMANOID], ids=lambda task: task.name)
def test_joints_are_observed_and_driven_under_their_names(task: Any) -> None:
    env = TaskEnv(task)
    model, data = inside(env).model, inside(env).data

    def follows(state: Any, address: int) -> list[str]:
        before = inside(env)._get_obs()
        state[address] += 0.125
        names = [task.observation_names[i] for i in np.flatnonzero(inside(env)._get_obs() - before)]
        state[address] -= 0.125
        return names

    for joint in (model.joint(i) for i in range(model.njnt)):
        if joint.type[0] == mujoco.mjtJoint.mjJNT_FREE:
            places = [follows(data.qpos, joint.qposadr[0] + i) for i in range(7)]
            assert places == [[], [], ["torso_z"], *([f"torso_quaternion_{part}"] for part in "wxyz")]
            rates = [follows(data.qvel, joint.dofadr[0] + i) for i in range(6)]
            assert rates[:3] == [[f"torso_velocity_{axis}"] for axis in AXES]
            assert rates[3:] == [[f"torso_{axis}_angular_velocity"] for axis in AXES]
            continue
        turns = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
        position = [] if joint.name == "rootx" else [f"{joint.name}_{'angle' if turns else 'position'}"]
        assert follows(data.qpos, joint.qposadr[0]) == position
        velocity = f"{joint.name}_{'angular_velocity' if turns else 'velocity'}"
        assert follows(data.qvel, joint.dofadr[0]) == [velocity]
    driven = [(model.joint(model.actuator(i).trnid[0]).name, model.actuator(i).gear[0]) for i in range(model.nu)]
    assert [(signal.name, signal.unit) for signal in task.action] == [
        (f"{joint}_torque", f"{gear:g} N·m") for joint, gear in driven
    ]
    env.close()


def test_the_humanoids_masses_and_inertias_are_those_of_the_named_body(humanoid: TaskEnv) -> None:
    seen = falling(humanoid)
    model, data = inside(humanoid).model, inside(humanoid).data
    centre = model.body_mass @ data.xipos / model.body_mass.sum()
    for body in range(1, model.nbody):
        name, m, d = model.body(body).name, model.body_mass[body], data.xipos[body] - centre
        R = data.ximat[body].reshape(3, 3)
        inertia = R @ np.diag(model.body_inertia[body]) @ R.T + m * (d @ d * np.eye(3) - np.outer(d, d))
        assert seen[f"{name}_mass"] == pytest.approx(m)
        np.testing.assert_allclose(three(seen, f"{name}_mass_offset"), m * d, atol=1e-9)
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            assert seen[f"{name}_inertia_{AXES[i]}{AXES[j]}"] == pytest.approx(inertia[i, j], abs=1e-9)


def test_the_humanoids_body_velocities_are_those_of_the_named_body_about_its_centre_of_mass(
    humanoid: TaskEnv,
) -> None:
    seen = falling(humanoid)
    model, data = inside(humanoid).model, inside(humanoid).data
    centre, found = model.body_mass @ data.xipos / model.body_mass.sum(), np.zeros(6)
    for body in range(1, model.nbody):
        mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, body, found, 0)
        turning, moving, name = found[:3], found[3:], model.body(body).name
        there = moving + np.cross(turning, centre - data.xipos[body])
        np.testing.assert_allclose(three(seen, f"{name}_com_angular_velocity"), turning, atol=1e-9)
        np.testing.assert_allclose(three(seen, f"{name}_com_velocity"), there, atol=1e-9)


def test_the_humanoids_motor_torques_are_those_of_the_named_joint(humanoid: TaskEnv) -> None:
    falling(humanoid)
    model, data = inside(humanoid).model, inside(humanoid).data
    data.ctrl[:] = np.linspace(-0.4, 0.4, model.nu)
    seen = now(humanoid)
    for i in range(model.nu):
        joint = model.joint(model.actuator(i).trnid[0]).name
        assert seen[f"{joint}_motor_torque"] == pytest.approx(data.ctrl[i] * model.actuator(i).gear[0])


def test_a_push_on_a_body_is_observed_as_that_bodys_external_force_and_torque(humanoid: TaskEnv) -> None:
    unloaded = falling(humanoid)
    model, data = inside(humanoid).model, inside(humanoid).data
    centre = model.body_mass @ data.xipos / model.body_mass.sum()
    force, torque = np.array([3.0, -5.0, 7.0]), np.array([0.5, 0.25, -1.0])
    assert not any(value for name, value in unloaded.items() if "_external_" in name)
    for body in range(1, model.nbody):
        data.xfrc_applied[:] = 0
        data.xfrc_applied[body] = [*force, *torque]
        seen, name = now(humanoid), model.body(body).name
        about_centre = torque + np.cross(data.xipos[body] - centre, force)
        np.testing.assert_allclose(three(seen, f"{name}_external_force"), force, atol=1e-9)
        np.testing.assert_allclose(three(seen, f"{name}_external_torque"), about_centre, atol=1e-9)
        loaded = {n.partition("_external_")[0] for n, value in seen.items() if "_external_" in n and value}
        assert loaded == {name}
    data.xfrc_applied[:] = 0
