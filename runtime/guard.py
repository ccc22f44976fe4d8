"""The guard: the last word before an actuator, on the robot's side of the wire.

    RUN ──nothing fresh──▶ HOLD ──too long──▶ SAFE ──1 s──▶ STOP
     ▲                      │                  (latched until re-armed)
     └────fresh action──────┘

A pure state machine: no clock, no I/O; it is told once a tick what arrived. HOLD repeats the last applied
command. The numbers follow libfranka (20 lost packets), openpilot (10 periods) and PX4 (1 s).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from runtime.signals import Signal, highs, lows, max_steps

_NOT_FINITE_LIMIT = 3
_CLAMPED_LIMIT = 10
_STOP_AFTER_S = 1.0


class State(IntEnum):
    """What the guard lets through."""

    RUN = 0
    HOLD = 1
    SAFE = 2
    STOP = 3


@dataclass
class Counts:
    """What the guard had to do since it was made."""

    held: int = 0
    safe: int = 0
    clamped: int = 0
    not_finite: int = 0


@dataclass
class Guard:
    """Decides what is applied at each tick.

    Attributes:
        signals: of the action, with limits in robot units.
        safe_action: what SAFE and STOP command. Shape (A,).
        rate_hz: ticks per second, which turns the time limits into ticks.
        state: the present one.
        counts: what has been done so far.
    """

    signals: Sequence[Signal]
    safe_action: NDArray[np.float32]
    rate_hz: float
    state: State = State.RUN
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._low, self._high, self._max_step = (
            lows(self.signals),
            highs(self.signals),
            max_steps(self.signals),
        )
        # SAFE after max(3 T, min(20 T, 100 ms)) without a fresh action.
        self.hold_ticks = max(3, min(20, math.ceil(0.1 * self.rate_hz)))
        self.stop_ticks = math.ceil(_STOP_AFTER_S * self.rate_hz)
        self.rearm()

    def rearm(self) -> None:
        """Back to RUN, by someone's explicit decision; the safe action counts as the last applied one."""
        self.state = State.RUN
        self._applied: NDArray[np.float32] = self.safe_action
        self._without_fresh = self._not_finite_in_row = self._clamped_in_row = self._safe_ticks = 0

    def fresh(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """The command for a tick at which a fresh action of shape (A,) arrived."""
        if self.state >= State.SAFE:
            return self._stay_safe()
        if not np.isfinite(action).all():  # before any clamp: clip(nan) is nan
            self.counts.not_finite += 1
            self._not_finite_in_row += 1
            return self._enter_safe() if self._not_finite_in_row >= _NOT_FINITE_LIMIT else self.nothing()
        self._not_finite_in_row = self._without_fresh = 0
        # Bare ufuncs: np.clip costs several times as much on vectors of this size.
        command: NDArray[np.float32] = np.maximum(action, self._applied - self._max_step)
        command = np.minimum(command, self._applied + self._max_step)
        command = np.minimum(np.maximum(command, self._low), self._high)
        if (command != action).any():
            self.counts.clamped += 1
            self._clamped_in_row += 1
            if self._clamped_in_row >= _CLAMPED_LIMIT:
                return self._enter_safe()
        else:
            self._clamped_in_row = 0
        self.state = State.RUN
        self._applied = command
        return command

    def nothing(self) -> NDArray[np.float32]:
        """The command for a tick at which nothing usable arrived."""
        if self.state >= State.SAFE:
            return self._stay_safe()
        self._without_fresh += 1
        if self._without_fresh >= self.hold_ticks:
            return self._enter_safe()
        self.state = State.HOLD
        self.counts.held += 1
        return self._applied

    def _enter_safe(self) -> NDArray[np.float32]:
        self.state = State.SAFE
        return self._stay_safe()

    def _stay_safe(self) -> NDArray[np.float32]:
        self.counts.safe += 1
        self._safe_ticks += 1
        if self._safe_ticks > self.stop_ticks:
            self.state = State.STOP
        self._applied = self.safe_action
        return self._applied
