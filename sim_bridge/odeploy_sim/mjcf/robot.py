"""The robot of a task file: model, action, command and clock."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.signals import Signal, highs, lows
from odeploy_sim.mjcf.base import Base
from odeploy_sim.mjcf.model import compiled, joint_names, start
from odeploy_sim.mjcf.model_quantities import actuator
from odeploy_sim.mjcf.names import per_joint, require_known
from odeploy_sim.mjcf.table import Command, Mjcf, Pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setpoints:
    """Action of a robot whose motors have a PD law.

    Attributes:
        actuation: the law.
        scale: setpoint of an action of 1. Shape (A,).
    """

    actuation: Actuation
    scale: tuple[float, ...]


class Robot:
    """A compiled model with its command, previous action and clock.

    Attributes:
        model, data: the simulation.
        pose: `qpos` of the reset without noise.
        base: the robot's base.
        joints: names of the hinges and slides.
        action: signals of the action.
        setpoints: how actions become setpoints; None if they are the actuators' controls.
        command: signals of the command; `commanded` has their numbers.
        previous: the previous action. Shape (A,).
        time_s: time since the reset.
    """

    def __init__(self, table: Mjcf, where: str) -> None:
        """Compile the model.

        Raises:
            MissingError, FormatError: see `model.compiled`; an action without limits; an impossible command.
        """
        self.table, self.where = table, where
        self.model = compiled(table, where)
        self.data, self._fresh = mujoco.MjData(self.model), start(self.model, table, where)
        mujoco.mj_copyData(self.data, self.model, self._fresh)
        self.pose: Floats = self.data.qpos.copy()
        self.base = Base(self.data, table.base, where)
        self.joints = joint_names(self.model)
        self.setpoints = None if table.pd is None else self._setpoints(table.pd)
        self.action = self._controls() if self.setpoints is None else self._targets(self.setpoints)
        self.command = tuple(
            signal
            for i, c in enumerate(table.command)
            for signal in _command_signals(c, f"{where} at mjcf.command[{i}]")
        )
        self.commanded, self.previous, self.time_s = np.zeros(len(self.command)), np.zeros(len(self.action)), 0.0
        self._markers = self._found_markers()
        self._addresses = [int(self.model.joint(name).qposadr[0]) for name in self.joints]
        self._speeds = [int(self.model.joint(name).dofadr[0]) for name in self.joints]

    def reset(self, random: np.random.Generator) -> None:
        """Begin an episode: the pose with noise, and a command."""
        data, table = self.data, self.table
        mujoco.mj_copyData(data, self.model, self._fresh)
        for name, address, speed in zip(self.joints, self._addresses, self._speeds, strict=True):
            data.qpos[address] += random.uniform(-1, 1) * table.position_noise
            data.qvel[speed] += random.uniform(-1, 1) * table.velocity_noise
            joint = self.model.joint(name).id
            if self.model.jnt_limited[joint]:
                data.qpos[address] = np.clip(data.qpos[address], *self.model.jnt_range[joint])
        self.commanded[:] = random.uniform(lows(self.command), highs(self.command))
        for body, places in self._markers:
            data.mocap_pos[body] = self.commanded[places]
        self.previous[:], self.time_s = 0, 0.0
        mujoco.mj_forward(self.model, data)

    def controls(self, action: NDArray[np.floating]) -> Floats:
        """Return the actuators' input for an action: setpoints, or controls. Shape (A,)."""
        numbers = np.asarray(action, np.float64)
        return numbers if self.setpoints is None else numbers * self.setpoints.scale

    def advance(self, action: NDArray[np.floating], period_s: float) -> None:
        """Move on by one tick after the physics: the action becomes the previous one."""
        mujoco.mj_step1(self.model, self.data)  # positions and velocities of the new state, not of a step before
        self.previous[:] = action
        self.time_s += period_s

    def _controls(self) -> tuple[Signal, ...]:
        """Return the signals of the model's actuators."""
        signals = []
        for i in range(self.model.nu):
            quantity = actuator(self.model, i)
            if not self.model.actuator_ctrllimited[i]:
                raise FormatError(
                    where=f"{self.table.model}, actuator {self.model.actuator(i).name or i}",
                    expected="a ctrlrange, the limits of the action",
                    got="none",
                    remedy="add it to the model, or drive the joints by mjcf.pd",
                )
            low, high = map(float, self.model.actuator_ctrlrange[i])
            signals.append(Signal(quantity.name, quantity.unit, low, high))
        if not signals:
            raise FormatError(
                where=self.table.model,
                expected="actuators",
                got="none",
                remedy="add them to the model, or drive the joints by mjcf.pd",
            )
        return tuple(signals)

    def _setpoints(self, pd: Pd) -> Setpoints:
        driven = [self.model.joint(int(j)).name for j in self.model.actuator_trnid[:, 0]]
        where = f"{self.where} at mjcf.pd"
        limits = self.model.actuator_ctrlrange[:, 1]
        try:
            law = PD(
                p_gains_nm_rad=per_joint(pd.p_gains, driven, f"{where}.p_gains"),
                d_gains_nms_rad=per_joint(pd.d_gains, driven, f"{where}.d_gains"),
                default_pose_rad=tuple(float(self.data.joint(name).qpos[0]) for name in driven),
                torque_limits_nm=tuple(map(float, limits)),
            )
        except ValueError as error:
            raise FormatError(
                where=where, expected="gains of a PD law", got=str(error), remedy="correct them"
            ) from None
        physics_hz = 1 / float(self.model.opt.timestep)
        actuation = Actuation(pd.rate_hz or physics_hz, pd.interpolation, law)
        try:
            Actuation(physics_hz, "hold").fit(len(driven), actuation.rate_hz)
        except ValueError:
            raise FormatError(
                where=f"{where}.rate_hz",
                expected=f"a rate that divides that of the physics, {physics_hz:g} Hz",
                got=f"{actuation.rate_hz:g} Hz",
                remedy="correct it, or leave it out",
            ) from None
        return Setpoints(actuation, per_joint(pd.scale, driven, f"{where}.scale"))

    def _targets(self, setpoints: Setpoints) -> tuple[Signal, ...]:
        """Return the signals of setpoints: the joints' ranges, relative to the pose."""
        law = setpoints.actuation.pd
        assert law is not None
        signals = []
        for joint, pose, scale in zip(
            self.model.actuator_trnid[:, 0], law.default_pose_rad, setpoints.scale, strict=True
        ):
            name, turns = (
                self.model.joint(int(joint)).name,
                self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE,
            )
            low, high = map(float, self.model.jnt_range[joint])
            if not self.model.jnt_limited[joint] or scale <= 0:
                raise FormatError(
                    where=f"{self.table.model}, joint {name}",
                    expected="a range, the limits of its setpoint, and a positive scale",
                    got=f"scale {scale:g}" if scale <= 0 else "no range",
                    remedy="correct mjcf.pd.scale" if scale <= 0 else "add range to the joint",
                )
            unit = "rad" if turns else "m"
            limits = (round((limit - pose) / scale, 9) for limit in (low, high))
            signals.append(Signal(f"{name}_setpoint", unit if scale == 1 else f"{scale:g} {unit}", *limits))
        return tuple(signals)

    def _found_markers(self) -> list[tuple[int, slice]]:
        """Return mocap body and place of each command that has a marker."""
        found, first = [], 0
        for i, command in enumerate(self.table.command):
            if command.marker is not None:
                where = f"{self.where} at mjcf.command[{i}].marker"
                bodies = range(1, self.model.nbody)
                mocap = {self.model.body(b).name: int(self.model.body_mocapid[b]) for b in bodies}
                known = [name for name, number in mocap.items() if number >= 0]
                require_known(command.marker, known, 'body with mocap="true"', where)
                if len(command.names) != 3:
                    raise FormatError(
                        where=where,
                        expected="a command of x, y and z",
                        got=str(len(command.names)),
                        remedy="name three",
                    )
                found.append((mocap[command.marker], slice(first, first + 3)))
            first += len(command.names)
        return found


def _command_signals(command: Command, where: str) -> list[Signal]:
    if not len(command.names) == len(command.low) == len(command.high) > 0:
        raise FormatError(
            where=where,
            expected="as many numbers in low and high as names",
            got=f"{len(command.low)} and {len(command.high)} for {len(command.names)}",
            remedy="correct them",
        )
    for name, low, high in zip(command.names, command.low, command.high, strict=True):
        if not low < high:
            raise FormatError(
                where=f"{where}, {name}",
                expected="low below high",
                got=f"{low:g} and {high:g}",
                remedy="correct them",
            )
    return [
        Signal(name, command.unit, low, high)
        for name, low, high in zip(command.names, command.low, command.high, strict=True)
    ]
