"""The safety states of a robot and the transitions between them.

    RUN ──first miss──▶ HOLD ──too long──▶ SAFE ──1 s──▶ STOP
     ▲                   │                  (latched until re-armed)
     └───fresh action────┘

A pure state machine: no clock and no I/O. Its input, once per tick, is the due time, the finding and the
operator's input. The numbers follow libfranka (20 lost packets), openpilot (10 periods) and PX4 (1 s).
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from odeploy_runtime.errors import UsageError

_NOT_FINITE_LIMIT = 3
_LIMITS_LIMIT = 10
_STOP_AFTER_S = 1.0


class State(IntEnum):
    """Safety state, which decides what the guard lets through."""

    RUN = 0
    HOLD = 1
    SAFE = 2
    STOP = 3


class Cause(IntEnum):
    """Cause of a state. The first five are also the possible findings of a tick."""

    FRESH = 0
    """An action that may be applied unchanged."""
    LIMITS = 1
    """An action beyond limits or rate, which is clamped; for SAFE: ten in a row."""
    MISSING = 2
    """Nothing arrived."""
    STALE = 3
    """The action is not newer than the previous one, or too old."""
    NOT_FINITE = 4
    """A NaN or infinite number; for SAFE: three in a row."""
    SILENCE = 5
    """Too long without an applicable action."""
    DEAD_MAN = 6
    """The operator released the dead-man switch."""
    OPERATOR = 7
    """The operator's stop, or a signal that ends the program."""
    REARMED = 8
    """The operator re-armed, or n good actions did, if configured."""


# Reading a member from its class takes ten times as long as reading a name (0.15 µs, Python 3.11), every tick.
_RUN, _HOLD, _SAFE, _STOP = State
_FRESH, _LIMITS, _NOT_FINITE = Cause.FRESH, Cause.LIMITS, Cause.NOT_FINITE
_SILENCE, _DEAD_MAN, _OPERATOR, _REARMED = Cause.SILENCE, Cause.DEAD_MAN, Cause.OPERATOR, Cause.REARMED

BY_HAND = frozenset({Cause.OPERATOR, Cause.DEAD_MAN})
"""Causes set by a person: only a person's re-arming ends them."""


class Operator(NamedTuple):
    """Input of the operator beside the robot, at one tick."""

    stop: bool = False
    """Stop at once."""
    held: bool = True
    """The dead-man switch is held; always true without one."""
    rearm: bool = False
    """Continue from SAFE or STOP; ignored in RUN and HOLD, with `stop`, or while the switch is open."""


class Transition(NamedTuple):
    """A change of state and its cause."""

    before: State
    after: State
    cause: Cause


@dataclass
class Safety:
    """Safety state machine of one robot.

    Attributes:
        rate_hz: ticks per second.
        rearm_after: good actions in a row that end SAFE without an operator; None for never. They do not end STOP,
            nor SAFE caused by a person.
        state: present state; STOP until the first arming.
        cause: cause of the present state: in HOLD the last finding, in SAFE and STOP what led to SAFE.
        transitions: number of each transition.
        period_ns: T.
        hold_ns: time without a fresh action after which HOLD becomes SAFE: max(3 T, min(20 T, 100 ms)), whole
            ticks.
        stop_ns: time in SAFE after which it becomes STOP: 1 s, whole ticks.
    """

    rate_hz: float
    rearm_after: int | None = None
    state: State = _STOP
    cause: Cause = _OPERATOR
    transitions: Counter[Transition] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.rearm_after is not None and self.rearm_after < 1:
            raise UsageError(
                where="rearm_after",
                expected="at least 1 good action, or none if only the operator re-arms",
                got=str(self.rearm_after),
                remedy="give for example 10",
            )
        self.period_ns = round(1e9 / self.rate_hz)
        self.hold_ns = max(3, min(20, math.ceil(0.1 * self.rate_hz))) * self.period_ns
        self.stop_ns = math.ceil(_STOP_AFTER_S * self.rate_hz) * self.period_ns
        self._safe_since_ns = 0
        self._begin(0)

    def rearm(self, due_ns: int) -> None:
        """Return to RUN; the time without a fresh action counts from here."""
        self._begin(due_ns)
        self._go(_RUN, _REARMED)

    def tick(self, due_ns: int, found: Cause, operator: Operator) -> State:
        """Return the state that decides the command of this tick.

        Args:
            due_ns: due time of the tick; skipped ticks count by the time that passed.
            found: finding, one of the first five causes.
            operator: the operator's input.
        """
        self._count(due_ns, found)
        if operator.stop:
            self._go(_STOP, _OPERATOR)
        elif self.state is _SAFE:
            self._stay_safe(due_ns, operator.held)
        elif self.state is not _STOP:
            fault = self._fault(due_ns, operator.held)
            if fault is not None:
                self._safe_since_ns = due_ns
                self._go(_SAFE, fault)
            else:
                self._go(_RUN if found <= _LIMITS else _HOLD, found)
        return self.state

    def _begin(self, due_ns: int) -> None:
        self._fresh_ns = due_ns
        self._good_in_row = self._not_finite_in_row = self._clamped_in_row = 0

    def _count(self, due_ns: int, found: Cause) -> None:
        self._good_in_row = self._good_in_row + 1 if found is _FRESH else 0
        if found is _NOT_FINITE:
            self._not_finite_in_row += 1
        elif found <= _LIMITS:
            self._fresh_ns, self._not_finite_in_row = due_ns, 0
            self._clamped_in_row = self._clamped_in_row + 1 if found is _LIMITS else 0

    def _fault(self, due_ns: int, held: bool) -> Cause | None:
        """Return the cause if this tick is the first one of SAFE."""
        if not held:
            return _DEAD_MAN
        if self._not_finite_in_row >= _NOT_FINITE_LIMIT:
            return _NOT_FINITE
        if self._clamped_in_row >= _LIMITS_LIMIT:
            return _LIMITS
        return _SILENCE if due_ns - self._fresh_ns >= self.hold_ns else None

    def _stay_safe(self, due_ns: int, held: bool) -> None:
        if not held:
            self.cause = _DEAD_MAN
        if due_ns - self._safe_since_ns >= self.stop_ns:
            self._go(_STOP, self.cause)
        elif self._good_in_row == self.rearm_after and self.cause not in BY_HAND:
            self.rearm(due_ns)

    def _go(self, state: State, cause: Cause) -> None:
        if state is not self.state:
            self.transitions[Transition(self.state, state, cause)] += 1
        self.state, self.cause = state, cause
