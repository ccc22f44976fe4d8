"""The terms of an observation, from joint positions to a clock."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_runtime.signals import Signal
from odeploy_sim.mjcf.model_quantities import joint_positions, joint_velocities, sensor
from odeploy_sim.mjcf.names import matching, require_known
from odeploy_sim.mjcf.places import place
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Observe

Read = Callable[[], NDArray[np.float64]]


class Term(NamedTuple):
    """Signals of a term before its scale, and their reader."""

    signals: tuple[Signal, ...]
    read: Read


class Observation:
    """The observation of a robot.

    Attributes:
        signals: its signals, in order. Length O.
    """

    def __init__(self, robot: Robot) -> None:
        """Find the terms.

        Raises:
            MissingError: an unknown term, joint, sensor or place.
            FormatError: a term lacks a field, or the table has no terms.
        """
        self._reads: list[Read] = []
        signals: list[Signal] = []
        scales, offsets, lows, highs = [], [], [], []
        for i, asked in enumerate(robot.table.observe):
            where = f"{robot.where} at mjcf.observe[{i}]"
            require_known(asked.term, TERMS, "term", f"{where}.term")
            term = TERMS[asked.term](robot, asked, where)
            low, high = _clip(asked, where)
            signals += [_scaled(signal, asked, low, high) for signal in term.signals]
            size = len(term.signals)
            scales += [asked.scale] * size
            offsets += [asked.offset] * size
            lows += [low] * size
            highs += [high] * size
            self._reads.append(term.read)
        if not signals:
            raise FormatError(
                where=f"{robot.where} at mjcf.observe",
                expected="at least one signal",
                got="none",
                remedy="add terms",
            )
        self.signals = tuple(signals)
        self._scale, self._offset = np.array(scales), np.array(offsets)
        self._low, self._high = np.array(lows), np.array(highs)

    def read(self) -> NDArray[np.float64]:
        """Return the observation of the present state. Shape (O,)."""
        values = np.concatenate([read() for read in self._reads])
        clipped: NDArray[np.float64] = np.clip(self._scale * values + self._offset, self._low, self._high)
        return clipped


def _joint_pos(robot: Robot, asked: Observe, where: str) -> Term:
    names = matching(asked.joints, robot.joints, f"{where}.joints")
    at = [int(robot.model.joint(name).qposadr[0]) for name in names]
    origin = robot.pose[at] if asked.relative else np.zeros(len(at))
    signals = []
    for name, zero in zip(names, origin, strict=True):
        joint = robot.model.joint(name).id
        [quantity] = joint_positions(name, robot.model.jnt_type[joint])
        limits = (
            [round(float(v - zero), 9) for v in robot.model.jnt_range[joint]]
            if robot.model.jnt_limited[joint]
            else []
        )
        signals.append(Signal(quantity.name, quantity.unit, *limits))
    return Term(tuple(signals), lambda: robot.data.qpos[at] - origin)


def _joint_vel(robot: Robot, asked: Observe, where: str) -> Term:
    names = matching(asked.joints, robot.joints, f"{where}.joints")
    at = [int(robot.model.joint(name).dofadr[0]) for name in names]
    found = [joint_velocities(name, robot.model.jnt_type[robot.model.joint(name).id])[0] for name in names]
    return Term(tuple(Signal(q.name, q.unit) for q in found), lambda: robot.data.qvel[at])


def _sensor(robot: Robot, asked: Observe, where: str) -> Term:
    model, data = robot.model, robot.data
    names = [model.sensor(i).name for i in range(model.nsensor)]
    index = model.sensor(require_known(_of(asked, where), names, "sensor", f"{where}.of")).id
    found, first = sensor(model, index), int(model.sensor_adr[index])
    return Term(tuple(Signal(q.name, q.unit) for q in found), lambda: data.sensordata[first : first + len(found)])


def _position(robot: Robot, asked: Observe, where: str) -> Term:
    name = _of(asked, where)
    here = place(robot.data, name, f"{where}.of")
    if asked.minus is None:
        return Term(_xyz(name, "m"), lambda: here)
    there = place(robot.data, asked.minus, f"{where}.minus")
    return Term(_xyz(f"{name}_minus_{asked.minus}", "m"), lambda: here - there)


def _projected_gravity(robot: Robot, _asked: Observe, _where: str) -> Term:
    return Term(_xyz("projected_gravity", "1", -1.0, 1.0), robot.base.gravity)


def _base_angular_velocity(robot: Robot, _asked: Observe, _where: str) -> Term:
    return Term(_xyz("base_angular_velocity", "rad/s"), robot.base.angular_velocity)


def _base_linear_velocity(robot: Robot, _asked: Observe, _where: str) -> Term:
    return Term(_xyz("base_linear_velocity", "m/s"), robot.base.linear_velocity)


def _base_height(robot: Robot, _asked: Observe, _where: str) -> Term:
    return Term((Signal("base_height", "m"),), lambda: np.array([robot.base.height()]))


def _command(robot: Robot, _asked: Observe, where: str) -> Term:
    if not robot.command:
        raise FormatError(
            where=where, expected="a command in the task file", got="none", remedy="add [[mjcf.command]]"
        )
    return Term(robot.command, lambda: robot.commanded)


def _previous_action(robot: Robot, _asked: Observe, _where: str) -> Term:
    signals = tuple(Signal(f"previous_{s.name}", s.unit, s.low, s.high) for s in robot.action)
    return Term(signals, lambda: robot.previous)


def _phase(robot: Robot, asked: Observe, where: str) -> Term:
    """Return sine and cosine of a clock that starts with the episode."""
    period_s = asked.period_s
    if period_s is None or period_s <= 0 or not asked.parts:
        raise FormatError(
            where=f"{where}.period_s",
            expected="the period of the clock, above 0 s",
            got=str(period_s),
            remedy="add it",
        )
    clock = f"phase_{period_s:g}_s" + (f"_from_{asked.start:g}" if asked.start else "")
    functions: list[Any] = [getattr(math, part) for part in asked.parts]

    def read() -> NDArray[np.float64]:
        angle = 2 * math.pi * ((robot.time_s / period_s + asked.start) % 1.0)
        return np.array([function(angle) for function in functions])

    return Term(tuple(Signal(f"{clock}_{part}", "1", -1.0, 1.0) for part in asked.parts), read)


TERMS: dict[str, Callable[[Robot, Observe, str], Term]] = {
    "joint_pos": _joint_pos,
    "joint_vel": _joint_vel,
    "sensor": _sensor,
    "position": _position,
    "projected_gravity": _projected_gravity,
    "base_angular_velocity": _base_angular_velocity,
    "base_linear_velocity": _base_linear_velocity,
    "base_height": _base_height,
    "command": _command,
    "previous_action": _previous_action,
    "phase": _phase,
}
"""Name of a term -> its signals and reader. Velocities and gravity of the base are in the base's own frame."""


def _of(asked: Observe, where: str) -> str:
    if asked.of is None:
        raise FormatError(
            where=f"{where}.of", expected=f"the name that {asked.term} reads", got="none", remedy="add of = NAME"
        )
    return asked.of


def _xyz(name: str, unit: str, *limits: float) -> tuple[Signal, ...]:
    return tuple(Signal(f"{name}_{axis}", unit, *limits) for axis in "xyz")


def _clip(asked: Observe, where: str) -> tuple[float, float]:
    low, high = asked.clip or (-math.inf, math.inf)
    if not low < high or asked.scale == 0:
        raise FormatError(
            where=where,
            expected="clip with the lower number first, and a scale that is not 0",
            got=f"{low:g} to {high:g}, scale {asked.scale:g}",
            remedy="correct them",
        )
    return low, high


def _scaled(signal: Signal, asked: Observe, lowest: float, highest: float) -> Signal:
    """Return the signal after scale, offset and clip.

    A 1 of it stands for 1 / scale of its unit.
    """
    unscaled = -math.inf if signal.low is None else signal.low, math.inf if signal.high is None else signal.high
    limits = sorted(asked.scale * limit + asked.offset for limit in unscaled)
    low, high = (min(max(limit, lowest), highest) for limit in limits)
    unit = signal.unit if asked.scale == 1 or signal.unit == "1" else f"{1 / asked.scale:g} {signal.unit}"
    bounds = (round(limit, 9) if math.isfinite(limit) else None for limit in (low, high))
    return Signal(signal.name, unit, *bounds)
