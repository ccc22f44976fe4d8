"""The guard: the last check before an actuator, on the robot's side.

Each tick it receives at most one action and decides the command. In RUN that is the action, if it is newer than
all before, younger than 2 T and finite, clamped to the limits and to the rate of change. In HOLD it is the last
applied command, in SAFE and STOP the task's safe action. `safety/states.py` has the states. No clock and no I/O.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.safety.states import Cause, Operator, Safety, State
from odeploy_runtime.signals import Signal, highs, lows, max_steps

_MAX_AGE_PERIODS = 2
_HANDS_OFF = Operator()
_RUN, _HOLD, _SAFE = State.RUN, State.HOLD, State.SAFE  # see `odeploy_runtime.safety.states`
_FRESH, _LIMITS, _MISSING, _STALE, _NOT_FINITE = list(Cause)[:5]


class Offer(NamedTuple):
    """An action offered for a tick.

    Attributes:
        number: its episode and tick; each is applied at most once, and never after a later one.
        observed_ns: time at which its observation was sent; i · T later for the i-th action of a chunk.
        values: action in robot units. Shape (A,).
    """

    number: tuple[int, int]
    observed_ns: int
    values: NDArray[np.float32]


@dataclass
class Counts:
    """Interventions of the guard since its creation.

    Offers are counted only in RUN and HOLD.
    """

    held: int = 0
    safe: int = 0
    clamped: int = 0
    stale: int = 0
    not_finite: int = 0


@dataclass
class Guard:
    """Decision on the command of each tick.

    Attributes:
        signals: the action's A signals, with limits in robot units.
        safe_action: command in SAFE and STOP. Shape (A,).
        safety: state machine, with the time limits.
        counts: interventions so far.
        found: finding of the last tick.
    """

    signals: Sequence[Signal]
    safe_action: NDArray[np.float32]
    safety: Safety
    counts: Counts = field(default_factory=Counts)
    found: Cause = Cause.MISSING

    def __post_init__(self) -> None:
        self._low, self._high = lows(self.signals), highs(self.signals)
        self._max_step = max_steps(self.signals)
        self._limits_rate = bool(np.isfinite(self._max_step).any())
        self._max_age_ns = _MAX_AGE_PERIODS * self.safety.period_ns
        inside = (self.safe_action >= self._low) & (self.safe_action <= self._high)
        if not (inside & np.isfinite(self.safe_action)).all():
            wrong = int((~inside | ~np.isfinite(self.safe_action)).argmax())
            raise ContractError(
                where=f"safe action, signal {self.signals[wrong].name}",
                expected=f"a number from {self._low[wrong]:g} to {self._high[wrong]:g}",
                got=f"{self.safe_action[wrong]:g}",
                remedy="fix the task's safe_action, or the limits that exclude it",
            )
        self._applied = self.safe_action
        self._newest = (-1, -1)
        self._rearmed_ns: int | None = None

    @property
    def state(self) -> State:
        """Return the present safety state."""
        return self.safety.state

    def rearm(self, due_ns: int) -> None:
        """Return to RUN, by an explicit decision.

        The safe action counts as the last applied one; actions for observations before `due_ns` are stale.
        """
        self.safety.rearm(due_ns)
        self._applied, self._rearmed_ns = self.safe_action, due_ns

    def tick(
        self, due_ns: int, now_ns: int, offer: Offer | None, operator: Operator = _HANDS_OFF
    ) -> NDArray[np.float32]:
        """Return the command of a tick. Shape (A,).

        Args:
            due_ns: due time of the tick, which the time limits count by.
            now_ns: time by which an offer's age counts; in lockstep both are virtual.
            offer: the action that arrived, if any.
            operator: the operator's input.
        """
        # Not in RUN and HOLD: the safe action was not applied last, and the rate limit would start from it.
        if operator.rearm and operator.held and not operator.stop and self.state >= _SAFE:
            self.rearm(due_ns)
        armed = self.state < _SAFE
        self.found, command = self._judge(now_ns, offer)
        if armed and self.found is not _FRESH:
            self.counts.clamped += self.found is _LIMITS
            self.counts.stale += self.found is _STALE
            self.counts.not_finite += self.found is _NOT_FINITE
        state = self.safety.tick(due_ns, self.found, operator)
        if state is _RUN:
            self._applied = command
        elif state is _HOLD:
            self.counts.held += 1
        else:
            self.counts.safe += 1
            self._applied = self.safe_action
        return self._applied

    def _judge(self, now_ns: int, offer: Offer | None) -> tuple[Cause, NDArray[np.float32]]:
        """Return the finding, and the command that it allows."""
        if offer is None:
            return _MISSING, self._applied
        number, observed_ns, action = offer
        before_rearming = self._rearmed_ns is not None and observed_ns < self._rearmed_ns
        if number <= self._newest or before_rearming or not 0 <= now_ns - observed_ns < self._max_age_ns:
            return _STALE, self._applied
        self._newest = number
        if not math.isfinite(sum(action.tolist())):  # before any clamp: clip(nan) is nan
            return _NOT_FINITE, self._applied
        # Bare ufuncs: np.clip costs several times as much on vectors of this size.
        command: NDArray[np.float32] = np.minimum(np.maximum(action, self._low), self._high)
        if self._limits_rate:
            command = np.maximum(command, self._applied - self._max_step)
            command = np.minimum(command, self._applied + self._max_step)
        # The bytes of equal vectors differ only if a zero changed its sign.
        same = command.tobytes() == action.tobytes() or not (command != action).any()
        return (_FRESH if same else _LIMITS), command


def tightest(task: Sequence[Signal], policy: Sequence[Signal]) -> tuple[Signal, ...]:
    """Return the signals with the tighter of each pair of limits.

    Raises:
        ContractError: limits of a signal that do not overlap.
    """
    return tuple(_tighter(one, other) for one, other in zip(task, policy, strict=True))


def _tighter(one: Signal, other: Signal) -> Signal:
    low = max((s.low for s in (one, other) if s.low is not None), default=None)
    high = min((s.high for s in (one, other) if s.high is not None), default=None)
    step = min((s.max_step for s in (one, other) if s.max_step is not None), default=None)
    if low is not None and high is not None and not low < high:
        raise ContractError(
            where=f"signal {one.name}",
            expected="overlapping limits of the task and the policy file",
            got=f"{one.low} to {one.high} and {other.low} to {other.high}",
            remedy="use a policy that was exported for this task",
        )
    return Signal(one.name, one.unit, low, high, step)
