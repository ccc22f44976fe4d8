"""Checks for joints that are permuted inside a file with the right names.

There are two of them:

1. Against the task's expert: on the expert's own observations, actions follow the expert's action of another
   joint instead of their own, in a cycle.
2. By the file alone: actions depend on another joint's position and velocity many times more than on their
   own, in a cycle. The signal names tell which signals are an actuator's own.

The second is weak, since a running robot coordinates its joints. Its threshold lies beyond what trained experts
do (halfcheetah's two rear joints depend on each other 2.9 and 3.1 times as much as on themselves), and it
never results in more than a warning.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.doctor.findings import Finding

_FOLLOWS, _STRAYS = 0.8, 0.5
_DEPENDS = 5.0
_CHECK = "permuted joints"
_KINEMATIC = re.compile(
    r"_?(setpoint|scaled|target_angle|angular_velocity|angle|velocity|position|torque|force|displacement|(co)?sine)"
)
_AXIS = re.compile(r"(?:^|_)([xyz])$")


def check_against_expert(
    names: Sequence[str], file_actions: NDArray[np.float64], expert_actions: NDArray[np.float32]
) -> list[Finding]:
    """Find actions that follow the expert's action of another joint.

    Args:
        names: names of the actions.
        file_actions: actions of the file. Shape (M, A).
        expert_actions: actions of the expert for the same observations. Shape (M, A).
    """
    r = _correlations(file_actions, expert_actions)
    follows = {
        i: int(k) for i, k in enumerate(r.argmax(axis=1)) if k != i and r[i, k] >= _FOLLOWS and r[i, i] <= _STRAYS
    }
    findings = []
    for cycle in cycles(follows):
        seen = "; ".join(
            f"{names[i]} follows the expert's {names[k]} (correlation {r[i, k]:.2f}; with its own {r[i, i]:.2f})"
            for i, k in zip(cycle, (*cycle[1:], cycle[0]), strict=True)
        )
        remedy = "put the actions into the task's order before training or export"
        findings.append(Finding("error", _CHECK, ", ".join(names[i] for i in cycle), seen, remedy))
    return findings


def check_own_signals(
    observation_names: Sequence[str], action_names: Sequence[str], mean: NDArray[np.float64]
) -> list[Finding]:
    """Find actions that depend on the signals of another joint.

    Args:
        observation_names: names of the O observation signals.
        action_names: names of the A action signals.
        mean: how far each action moves with each signal, see `Sensitivity.mean`. Shape (A, O).
    """
    own = own_signals(observation_names, action_names)
    joints = [i for i, signals in enumerate(own) if signals]
    if not joints or not np.isfinite(mean).all():
        return []
    moved = np.array([[mean[i, own[k]].sum() for k in joints] for i in joints])
    depends = {}
    for i, row in enumerate(moved):
        k = int(row.argmax())
        others = np.delete(row, k)
        if k != i and row[k] > _DEPENDS * others.max():
            depends[i] = k
    findings = []
    for cycle in cycles(depends):
        seen = "; ".join(
            f"{action_names[joints[i]]} moves by {moved[i, k]:.2g} with the signals of {action_names[joints[k]]}, "
            f"by {moved[i, i]:.2g} with its own"
            for i, k in zip(cycle, (*cycle[1:], cycle[0]), strict=True)
        )
        where = ", ".join(action_names[joints[i]] for i in cycle)
        remedy = "compare the order of joints in training with the task's; ignore this if the score is right"
        findings.append(Finding("warning", _CHECK, where, seen, remedy))
    return findings


def own_signals(observation_names: Sequence[str], action_names: Sequence[str]) -> list[list[int]]:
    """Return each actuator's own observations.

    Those are the signals of its joint, or of its axis if no name has a joint.

    `hip_angle` and `hip_angular_velocity` belong to `hip_torque`; `ball_x` and `goal_x` to `motor_x`.
    """
    observed, acted = ([_KINEMATIC.sub("", n) for n in names] for names in (observation_names, action_names))
    own = [[j for j, stem in enumerate(observed) if stem == joint] for joint in acted]
    if any(own):
        return own
    along, moves = ([m[1] if (m := _AXIS.search(n)) else None for n in names] for names in (observed, acted))
    return [[j for j, axis in enumerate(along) if axis is not None and axis == mine] for mine in moves]


def cycles(to: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Return the cycles of i → to[i], each beginning with its smallest member."""
    found = set()
    for start in to:
        way, i = [start], to[start]
        while i in to and i not in way:
            way.append(i)
            i = to[i]
        if i == start:
            smallest = way.index(min(way))
            found.add((*way[smallest:], *way[:smallest]))
    return sorted(found)


def _correlations(a: NDArray[np.float64], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return correlations of the columns of a with those of b. Shape (A, A).

    They are 0 for constant or infinite columns.
    """
    unit = []
    for values in (a, b.astype(np.float64)):
        centred = values - values.mean(axis=0)
        length = np.linalg.norm(centred, axis=0)
        unit.append(
            np.divide(centred, length, out=np.zeros_like(centred), where=np.isfinite(length) & (length > 1e-9))
        )
    r: NDArray[np.float64] = unit[0].T @ unit[1]
    return r
