"""Gains and default pose that a file states, against the robot's own."""

import math
from collections.abc import Mapping, Sequence

from odeploy_export.contract.stated import Stated
from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.signals import Signal

_NEAR = 0.01  # mjlab writes three decimals


def require_radians(
    stated: Stated, pose: Mapping[str, float], scale: Mapping[str, float], angles: Mapping[str, Signal]
) -> None:
    """Require a pose within the joints' ranges and a scale below a turn.

    Degrees exceed them.

    Raises:
        ContractError: the message names the first joint.
    """
    for joint, angle in pose.items():
        signal = angles.get(joint)
        low, high = (-2 * math.pi, 2 * math.pi) if signal is None else (signal.low, signal.high)
        if not (low is None or low - _NEAR <= angle) or not (high is None or angle <= high + _NEAR):
            raise ContractError(
                where=f"{stated.where}, {stated.source('default_pose')}, joint {joint}",
                expected=f"an angle within [{low:g}, {high:g}] rad",
                got=f"{angle:g}",
                remedy="give radians, and the joints in the order of the names",
            )
    for joint, factor in scale.items():
        if not 0 < abs(factor) <= 2 * math.pi:
            raise ContractError(
                where=f"{stated.where}, {stated.source('action_scale')}, joint {joint}",
                expected="a scale in radians, up to a full turn and not 0",
                got=f"{factor:g}",
                remedy="give radians instead of degrees",
            )


def require_same(
    stated: Stated, fact: str, its: Mapping[str, float], own: Mapping[str, float], whose: str, remedy: str
) -> None:
    """Require that the file's numbers are the robot's.

    Raises:
        ContractError: the message names the first joint that differs.
    """
    for joint, value in its.items():
        if not math.isclose(value, own[joint], rel_tol=_NEAR, abs_tol=_NEAR):
            raise ContractError(
                where=f"{stated.where}, {stated.source(fact)}, joint {joint}",
                expected=f"{own[joint]:g}, as {whose} has",
                got=f"{value:g}",
                remedy=remedy,
            )


def derived_actuation(
    stated: Stated,
    facts: Mapping[str, Mapping[str, float]],
    acting: Sequence[str],
    physics_step_s: float | None,
) -> Actuation:
    """Return the PD law that the file states, for a task without one.

    Args:
        stated: where from, for messages.
        facts: fact -> joint -> number.
        acting: joints in the task's order.
        physics_step_s: period of the law; None if the task has none.

    Raises:
        ContractError: a number that the law needs is missing.
    """
    wanted = ("p_gains", "d_gains", "default_pose", "torque_limits")
    missing = [name for name in wanted if name not in facts]
    if missing or physics_step_s is None:
        raise ContractError(
            where=f"{stated.where}, {stated.source('p_gains', 'd_gains')}",
            expected="a PD law: gains, default pose, torque limits and the rate of the low-level loop",
            got=f"no {missing[0] if missing else 'rate'}",
            remedy="write the low-level control in a TOML file and give --actuation",
        )
    return Actuation(1 / physics_step_s, "hold", PD(*(tuple(facts[f][j] for j in acting) for f in wanted)))
