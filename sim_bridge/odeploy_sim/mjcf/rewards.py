"""The terms of a reward, and what ends an episode."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_sim.mjcf.names import require_known
from odeploy_sim.mjcf.places import distance
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Reward

Floats = NDArray[np.float64]
Rate = Callable[[Floats], float]
"""Reward of a tick, from its action."""

_AXES = ("x", "y", "z")
_YAW = 2


def reward(robot: Robot) -> Rate:
    """Return the weighted sum of the reward's terms.

    Raises:
        MissingError: an unknown term, place or command.
        FormatError: a term lacks a field.
    """
    terms = []
    for i, asked in enumerate(robot.table.reward):
        where = f"{robot.where} at mjcf.reward[{i}]"
        require_known(asked.term, TERMS, "term", f"{where}.term")
        terms.append((asked.weight, TERMS[asked.term](robot, asked, where)))
    return lambda action: sum((weight * rate(action) for weight, rate in terms), 0.0)


def ended(robot: Robot) -> Callable[[], bool]:
    """Return whether the base has fallen: it is too low, or leans too far."""
    base, end = robot.base, robot.table.end
    lowest = -math.inf if end.base_height_m is None else end.base_height_m
    most = math.inf if end.tilt_rad is None else end.tilt_rad
    return lambda: base.height() < lowest or base.tilt() > most


def solved(robot: Robot) -> Callable[[], bool] | None:
    """Return whether the task is solved; None for a task that is scored by its return."""
    success = robot.table.success
    if success is None:
        return None
    far = distance(robot.data, success.of, success.to, f"{robot.where} at mjcf.success")
    return lambda: far() < success.within_m


def _velocity(robot: Robot, asked: Reward, where: str) -> Rate:
    """Return the velocity itself, or exp(-((velocity - command) / width)²)."""
    base = robot.base

    def velocity() -> float:
        if asked.axis == "yaw":
            return float(base.angular_velocity()[_YAW])
        return float(base.linear_velocity()[_AXES.index(asked.axis)])

    if asked.command is None:
        return lambda _: velocity()
    names = [signal.name for signal in robot.command]
    place, width = (
        names.index(require_known(asked.command, names, "command", f"{where}.command")),
        _width(asked, where),
    )
    return lambda _: math.exp(-(((velocity() - robot.commanded[place]) / width) ** 2))


def _distance(robot: Robot, asked: Reward, where: str) -> Rate:
    """Return minus the distance, or exp(-(distance / width)²)."""
    far = distance(robot.data, asked.of, asked.to, where)
    if asked.width is None:
        return lambda _: -far()
    width = _width(asked, where)
    return lambda _: math.exp(-((far() / width) ** 2))


def _alive(_robot: Robot, _asked: Reward, _where: str) -> Rate:
    return lambda _: 1.0


def _action_cost(_robot: Robot, _asked: Reward, _where: str) -> Rate:
    """Return minus the sum of the action's squares."""
    return lambda action: -float(action @ action)


TERMS: dict[str, Callable[[Robot, Reward, str], Rate]] = {
    "velocity": _velocity,
    "distance": _distance,
    "alive": _alive,
    "action_cost": _action_cost,
}
"""Name of a term -> its reward of a tick, at weight 1."""


def _width(asked: Reward, where: str) -> float:
    if asked.width is None or asked.width <= 0:
        raise FormatError(
            where=f"{where}.width",
            expected="the error at which the reward falls to 1/e, above 0",
            got=str(asked.width),
            remedy="add it, for example width = 0.5",
        )
    return asked.width
