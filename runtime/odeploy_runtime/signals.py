"""Signals: the meaning of each number of an observation or an action, in order.

Two sides that exchange vectors must agree on every name at every place: a swapped pair of joints has the right
shape and the right range, and moves the wrong joint.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError


@dataclass(frozen=True, slots=True)
class Signal:
    """One number of a vector.

    Attributes:
        name: unique within its vector, such as `thigh_joint_rad` or `goal_x`.
        unit: SI unit, or `1` for a pure number.
        low: smallest value; None for unbounded.
        high: largest value; None for unbounded.
        max_step: largest change from one tick to the next; None for unlimited.
    """

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    max_step: float | None = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if low is not None and high is not None and not low < high:
            raise ValueError(f"signal {self.name}: low {low} is not below high {high}")


def lows(signals: Sequence[Signal]) -> NDArray[np.float32]:
    """Return the lower limits, -inf for None. Shape (len(signals),)."""
    return np.array([-math.inf if s.low is None else s.low for s in signals], np.float32)


def highs(signals: Sequence[Signal]) -> NDArray[np.float32]:
    """Return the upper limits, +inf for None. Shape (len(signals),)."""
    return np.array([math.inf if s.high is None else s.high for s in signals], np.float32)


def max_steps(signals: Sequence[Signal]) -> NDArray[np.float32]:
    """Return the largest changes per tick, +inf for None. Shape (len(signals),)."""
    return np.array([math.inf if s.max_step is None else s.max_step for s in signals], np.float32)


def half_ranges(signals: Sequence[Signal]) -> NDArray[np.float64]:
    """Return half of each range, which converts errors to unit scale; 1 if unbounded.

    Shape (len(signals),).
    """
    return np.array([1.0 if s.low is None or s.high is None else (s.high - s.low) / 2 for s in signals])


def task_digest(observation: Sequence[Signal], action: Sequence[Signal], rate_hz: float, horizon: int) -> str:
    """Return the digest of a task: 16 hexadecimal digits.

    It identifies the signals, their limits, the rate and the horizon. Numbers count to nine digits, so that 1 and
    1.0 are equal, and a rate's last bit does not matter.
    """

    def number(value: float | None) -> str | None:
        return None if value is None else f"{value:.9g}"

    def facts(signals: Sequence[Signal]) -> list[list[str | None]]:
        return [[s.name, s.unit, number(s.low), number(s.high), number(s.max_step)] for s in signals]

    whole = [facts(observation), facts(action), number(rate_hz), horizon]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]


def require_same_names(expected: Sequence[str], got: Sequence[str], where: str) -> None:
    """Compare two lists of names place by place.

    Raises:
        ContractError: the lists differ; the message distinguishes a different order from missing or unknown names.
    """
    expected, got = list(expected), list(got)
    if expected == got:
        return
    if sorted(expected) == sorted(got):
        i = next(i for i, (e, g) in enumerate(zip(expected, got, strict=True)) if e != g)
        raise ContractError(
            where=f"{where}, place {i}",
            expected=f"'{expected[i]}'",
            got=f"'{got[i]}' (same names, another order)",
            remedy="reorder the robot's signals to match the policy file",
        )
    missing = [n for n in expected if n not in got]
    unknown = [n for n in got if n not in expected]
    difference = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(
        unknown
    )
    raise ContractError(
        where=where,
        expected=f"{len(expected)} signals as in the policy file",
        got=f"{len(got)}: {'; '.join(difference) or 'names repeated'}",
        remedy="use a policy that was exported for this task",
    )
