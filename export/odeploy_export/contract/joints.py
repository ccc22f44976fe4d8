"""Joints of a policy and signals of a task, matched by name."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal

_BEFORE = r"(previous_(raw_)?)?"  # of a recipe's previous actions


def joint_of(name: str, joints: Sequence[str]) -> str | None:
    """Return the joint by which a signal's name begins, the longest; None without one."""
    fitting = [joint for joint in joints if re.match(rf"{_BEFORE}{re.escape(joint)}(_|$)", name)]
    return max(fitting, key=len, default=None)


def acting_joints(
    joints: Sequence[str], action: Sequence[Signal], where: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the joints that the network moves, in its order, and each action's place.

    Args:
        joints: as the file names them; some may have no actuator.
        action: the task's A action signals.
        where: for messages.

    Raises:
        ContractError: a signal without a joint, or two of the same.
    """
    found = [joint_of(signal.name, joints) for signal in action]
    for signal, joint in zip(action, found, strict=True):
        if joint is None or found.count(joint) > 1:
            near = difflib.get_close_matches(signal.name, joints, n=1, cutoff=0.3) or list(joints[:1])
            raise ContractError(
                where=f"{where}, action {signal.name}",
                expected="a joint of its own, by which its name begins",
                got=f"{joint} for {found.count(joint)} signals" if joint else f"none; the nearest is {near[0]}",
                remedy="give the task whose action signals are named after these joints",
            )
    acting = tuple(joint for joint in joints if joint in found)
    return acting, tuple(acting.index(str(joint)) for joint in found)


def places_by_joint(names: Sequence[str], joints: Sequence[str]) -> tuple[int, ...] | None:
    """Return the place of each network input in the observation; None for the same.

    Signals that differ only in their joint, such as all angles, belong together: the network has them in the order
    of its joints, at the places that they take in the observation.
    """
    groups: dict[str, list[int]] = {}
    of = [joint_of(name, joints) for name in names]
    for place, (name, joint) in enumerate(zip(names, of, strict=True)):
        if joint is not None:
            groups.setdefault(name.replace(joint, "*", 1), []).append(place)
    places = list(range(len(names)))
    for group in groups.values():
        ordered = sorted(group, key=lambda place: joints.index(str(of[place])))
        for place, its in zip(group, ordered, strict=True):
            places[place] = its
    return None if places == list(range(len(names))) else tuple(places)


def numbers(value: Any, joints: Sequence[str], acting: Sequence[str], where: str) -> dict[str, float]:
    """Return a number for each acting joint, from a number, a list or a table.

    Raises:
        ContractError: another number of them, or not numbers.
    """
    listed: list[Any]
    if isinstance(value, Mapping):
        listed = [next((v for p, v in value.items() if re.fullmatch(str(p), j)), None) for j in acting]
        names: Sequence[str] = acting
    elif isinstance(value, list):
        listed, names = value, joints if len(value) == len(joints) else acting
    else:
        listed, names = [value] * len(acting), acting
    right = len(listed) == len(names)
    wrong = [
        n for n, v in zip(names, listed, strict=False) if isinstance(v, bool) or not isinstance(v, int | float)
    ]
    if not right or wrong:
        raise ContractError(
            where=where + (f", joint {wrong[0]}" if wrong else ""),
            expected="a number"
            if wrong
            else f"{len(joints)} numbers, one for each joint from {joints[0]} to {joints[-1]}",
            got="something else" if wrong else f"{len(listed)}",
            remedy="correct the key, or export the policy again with its library",
        )
    return {name: float(v) for name, v in zip(names, listed, strict=True) if name in acting}
