"""An actuator loop at the physics rate, wrapped around environments without one."""

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from numpy.typing import NDArray

from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_sim.environments.actuated import ActuatedEnv

HZ = 500.0  # the hopper's physics rate: four steps a tick
POSE_RAD = (-0.1, -0.2, 0.1)
LAW = PD((300.0, 200.0, 100.0), (10.0, 8.0, 2.0), POSE_RAD, (200.0, 150.0, 30.0))
PD_LOOP, HELD = Actuation(HZ, "linear", LAW), Actuation(HZ, "hold")


class ActuatedHopper(ActuatedEnv, HopperEnv):
    """The catalogued hopper with joint positions as commands."""

    def __init__(self, actuation: Actuation) -> None:
        self.torques: list[NDArray[np.float64]] = []
        super().__init__(actuation=actuation)

    def _step_physics(self) -> None:
        self.torques.append(200 * self.data.ctrl)  # the gear of its motors
        super()._step_physics()


def played(env: Any, commands: NDArray[np.float64]) -> NDArray[np.float64]:
    env.reset(seed=3)
    return np.array([np.concatenate([env.step(c)[0], env.data.qpos]) for c in commands])


def test_a_held_setpoint_without_a_pd_law_leaves_the_environment_unchanged() -> None:
    commands = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    np.testing.assert_array_equal(played(ActuatedHopper(HELD), commands), played(HopperEnv(), commands))


def test_each_physics_step_has_the_pd_laws_torque_at_that_time() -> None:
    env: Any = ActuatedHopper(PD_LOOP)
    env.reset(seed=0)
    model, data = env.model, env.data
    twin = mujoco.MjData(model)
    mujoco.mj_copyData(twin, model, data)
    low = high = data.qpos[3:] - POSE_RAD
    expected = []
    for command in np.random.default_rng(1).uniform(-0.3, 0.3, (5, 3)):
        low, high = high, command
        env.step(command)
        for step in range(env.frame_skip):
            setpoint = low + (high - low) * step / env.frame_skip
            p, d, limit = (np.array(n) for n in (LAW.p_gains_nm_rad, LAW.d_gains_nms_rad, LAW.torque_limits_nm))
            torque = np.clip(
                p * (np.array(POSE_RAD) + setpoint - twin.qpos[3:]) - d * twin.qvel[3:], -limit, limit
            )
            expected.append(torque)
            twin.ctrl[:] = torque / 200
            mujoco.mj_step(model, twin)
    np.testing.assert_allclose(env.torques, expected, rtol=1e-9, atol=1e-9)


def test_a_slower_loop_updates_its_torques_at_its_own_rate() -> None:
    env: Any = ActuatedHopper(replace(PD_LOOP, rate_hz=HZ / 2))
    env.reset(seed=0)
    env.step(np.full(3, 0.1))
    first, second, third, fourth = (tuple(t) for t in env.torques)
    assert first == second != third == fourth


@pytest.mark.parametrize("rate_hz", [1000.0, 375.0])
def test_a_loop_rate_that_does_not_divide_the_physics_rate_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match=rf"an actuator of {rate_hz:g} Hz"):
        ActuatedHopper(Actuation(rate_hz, "hold"))


def test_a_law_for_other_joints_is_refused() -> None:
    with pytest.raises(ValueError, match="gains of 1 joints for 3"):
        ActuatedHopper(Actuation(HZ, "hold", PD((1.0,), (1.0,), (0.0,), (1.0,))))
