"""A recipe from the names of observation terms of Isaac Lab, mjlab and Unitree."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from odeploy_export.contract.joints import joint_of
from odeploy_export.contract.stated import Stated
from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal

_AXES = ("x", "y", "z")
_VECTORS = {
    "base_ang_vel": r"(base_|imu_)?(ang_vel|angular_velocity)",
    "base_lin_vel": r"(base_|imu_)?(lin_vel|linear_velocity|velocity)",
    "projected_gravity": r"projected_gravity",
}
"""Term -> pattern of its three signals, without their axis."""
_JOINTS = {
    "joint_pos": "rad",
    "joint_pos_rel": "rad",
    "dof_pos": "rad",
    "joint_vel": "rad/s",
    "joint_vel_rel": "rad/s",
    "dof_vel": "rad/s",
}
"""Term -> unit of its signals, one per joint. Angles are relative to the default pose."""
_ACTIONS = ("actions", "last_action", "last_actions", "previous_actions")
_COMMANDS = ("command", "velocity_commands", "velocity_command", "commands")
COMMAND_SIGNALS = {
    "lin_vel_x": ("forward_velocity", "lin_vel_x"),
    "lin_vel_y": ("sideways_velocity", "lin_vel_y"),
    "ang_vel_z": ("turn_rate", "ang_vel_z", "ang_vel_yaw"),
    "ang_vel_yaw": ("turn_rate", "ang_vel_z", "ang_vel_yaw"),
}
"""Part of a velocity command -> names of the task's signal."""


def recipe_of(
    stated: Stated, raw: tuple[Signal, ...], joints: Sequence[str], pose: Mapping[str, float] | None
) -> Recipe:
    """Return the recipe that the stated terms make of the robot's signals.

    Args:
        stated: facts with `observation_terms`.
        raw: the robot's R signals.
        joints: in the network's order.
        pose: default pose of each joint [rad]; None if the file does not state it.

    Raises:
        ContractError: a term that no signals of the task fit, a clip, or scales that are no numbers.
    """
    names = [str(name) for name in _listed(stated.facts["observation_terms"])]
    scales, ages = _per_term(stated, "observation_scales", names, 1.0), _ages(stated, names)
    for name, clip in zip(names, _per_term(stated, "observation_clips", names, None), strict=True):
        if isinstance(clip, list) and any(abs(float(bound)) < float("inf") for bound in clip):
            raise _refusal(stated, name, "a term without clip", f"a clip to {clip}")
    terms, command = list[Term](), tuple[str, ...]()
    for name, scale, age in zip(names, scales, ages, strict=True):
        factor = _one_scale(stated, name, scale)
        if name in _ACTIONS:
            terms.append(Term("raw_action", ages=age, scale=factor))
            continue
        found = _signals(stated, name, raw, joints)
        if name in _COMMANDS:
            command = found
        offset = None
        if _JOINTS.get(name) == "rad":
            if pose is None:
                raise _refusal(stated, name, "default_joint_pos, to which its angles are relative", "none")
            offset = tuple(-(factor or 1.0) * pose[str(joint_of(signal, joints))] for signal in found)
            offset = None if not any(offset) else offset
        terms.append(Term("signals", found, age, scale=factor, offset=offset))
    return Recipe(raw, tuple(terms), command)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _per_term(stated: Stated, fact: str, names: Sequence[str], default: Any) -> list[Any]:
    if fact not in stated.facts:
        return [default] * len(names)
    values = _listed(stated.facts[fact])
    if len(values) != len(names):
        raise ContractError(
            where=f"{stated.where}, {stated.sources[fact]}",
            expected=f"{len(names)} values, one for each of {', '.join(names)}",
            got=str(len(values)),
            remedy="export the policy again with its library",
        )
    return values


def _ages(stated: Stated, names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the ages of each term, oldest first; a history of 0 or 1 is one tick."""
    lengths = [int(n or 1) for n in _per_term(stated, "observation_history", names, 1)]
    return [tuple(range(max(1, n) - 1, -1, -1)) for n in lengths]


def _one_scale(stated: Stated, name: str, scale: Any) -> float | None:
    factors = {float(f) for f in _listed(scale)}
    if len(factors) != 1 or 0.0 in factors:
        raise _refusal(stated, name, "one scale for the whole term", f"{sorted(factors)}")
    (factor,) = factors
    return None if factor == 1.0 else factor


def _signals(stated: Stated, name: str, raw: Sequence[Signal], joints: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the task's signals for a term, in the term's order."""
    known, found = [signal.name for signal in raw], list[str]()
    if name in _JOINTS:
        of = {joint_of(s.name, joints): s.name for s in raw if s.unit == _JOINTS[name]}
        missing = next((joint for joint in joints if joint not in of), None)
        if missing is not None:
            raise _refusal(stated, name, f"a signal of joint {missing} in {_JOINTS[name]}", "none in the task")
        return tuple(of[joint] for joint in joints)
    if name in _VECTORS:
        found = [n for axis in _AXES for n in known if re.fullmatch(f"{_VECTORS[name]}_{axis}", n)]
    elif name in _COMMANDS:
        parts = (COMMAND_SIGNALS[part] for part in ("lin_vel_x", "lin_vel_y", "ang_vel_z"))
        found = [n for names in parts for n in known if n in names or n.removeprefix("command_") in names]
    if len(found) != 3:
        expected = "three signals of the task" if name in _VECTORS or name in _COMMANDS else "a known term"
        raise _refusal(stated, name, expected, f"{', '.join(found) or 'none'} that fits")
    return tuple(found)


def _refusal(stated: Stated, term: str, expected: str, got: str) -> ContractError:
    return ContractError(
        where=f"{stated.where}, {stated.sources['observation_terms']}, term {term}",
        expected=expected,
        got=got,
        remedy="write how this observation is computed in a TOML file and give --recipe",
    )
