"""A MuJoCo environment whose motors have a control loop at the physics' rate.

gymnasium holds one control for all physics steps of a tick. Here a tick's command is a setpoint, from which an
`Actuator` computes the control of each physics step. `class Pd(ActuatedEnv, HopperEnv)` adds that to any model
whose motors drive one hinge or slide each, without changes to the environment itself.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray

from odeploy_runtime.policy_file.actuation import Actuation, Actuator


class ActuatedEnv(MujocoEnv):
    """Mixin that precedes a `MujocoEnv` among a class's bases.

    Args:
        actuation: the motors' control loop; its rate divides that of the physics.
    """

    def __init__(self, *positional: Any, actuation: Actuation, **arguments: Any) -> None:
        super().__init__(*positional, **arguments)
        physics_hz, model = 1 / self.model.opt.timestep, self.model
        actuation.fit(model.nu, 1 / self.dt)
        self._every = round(physics_hz / actuation.rate_hz)
        if self._every < 1 or abs(self._every * actuation.rate_hz - physics_hz) > 1e-6 * physics_hz:
            raise ValueError(f"an actuator of {actuation.rate_hz:g} Hz in physics of {physics_hz:g} Hz")
        self._actuation, self._actuator = actuation, Actuator(actuation, model.nu, 1 / self.dt)
        joints = model.actuator_trnid[:, 0]
        self._positions, self._velocities = model.jnt_qposadr[joints], model.jnt_dofadr[joints]
        self._gears = model.actuator_gear[:, 0]

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; under a PD law the setpoint is the joints' position."""
        begun: tuple[Any, dict[str, Any]] = super().reset(**arguments)
        if self._actuation.pd is not None:
            self._actuator.begin_at(self.data.qpos[self._positions])
        else:
            self._actuator.begin(np.zeros(self.model.nu))
        return begun

    def _step_mujoco_simulation(self, ctrl: NDArray[Any], n_frames: int) -> None:
        """Step the physics of one tick; gymnasium calls it from `do_simulation`."""
        data = self.data
        self._actuator.command(self._now_ns(), ctrl)
        for step in range(n_frames):
            if step % self._every == 0:
                out = self._actuator.step(self._now_ns(), data.qpos[self._positions], data.qvel[self._velocities])
                data.ctrl[:] = out / self._gears if self._actuation.pd is not None else out
            self._step_physics()
        mujoco.mj_rnePostConstraint(self.model, data)

    def _step_physics(self) -> None:
        mujoco.mj_step(self.model, self.data)

    def _now_ns(self) -> int:
        return round(float(self.data.time) * 1e9)
