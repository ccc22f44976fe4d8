"""A robot's counters for monitoring: states, findings, misses and drops.

The loop increments three integers a tick. Everything else is counted elsewhere already, and copied ten times a
second.
"""

from dataclasses import fields
from enum import IntEnum

from odeploy_runtime.realtime.counters import CounterNames, Counters
from odeploy_runtime.robot.client import Drops, RobotClient
from odeploy_runtime.safety.guard import Guard
from odeploy_runtime.safety.states import Cause, State

_COPIED_EVERY_NS = 100_000_000
_RUN = State.RUN  # see `odeploy_runtime.safety.states`


def _labelled(family: str, kind: type[IntEnum]) -> tuple[str, ...]:
    return tuple(f"{family}:{member.name.lower()}" for member in kind)


_TICKS, _ENTERED = _labelled("ticks", State), _labelled("entered", State)
_NEVER_HELD: tuple[Cause, ...] = (Cause.FRESH, Cause.REARMED)
_HELD: dict[Cause, str] = {c: f"held:{c.name.lower()}" for c in Cause if c not in _NEVER_HELD}
_DROPS = tuple((field.name, f"drops:{field.name}") for field in fields(Drops))

ROBOT = CounterNames(
    process="robot",
    counters=(
        *_TICKS,
        "ticks:skipped",
        "misses",
        "clamped",
        *_HELD.values(),
        *_ENTERED,
        *(name for _, name in _DROPS),
        "far_observations",
    ),
    gauges=("turned_ns", "ready", "state", "episode"),
)
"""`held` are ticks outside RUN, by cause; `entered` is how often a state began; `drops` are replies that were not
used, and observations that could not be sent. `ready` is 1 in RUN and HOLD."""


class RobotCounters:
    """Updates the counters from one robot's loop."""

    def __init__(self, counters: Counters, guard: Guard, client: RobotClient) -> None:
        self._counters, self._guard, self._client = counters, guard, client
        self._copy_ns = 0

    def skipped(self) -> None:
        """Count a tick that was due and never ran, which is a miss."""
        self._counters.add("ticks:skipped")
        self._counters.add("misses")

    def ran(self, now_ns: int, episode: int, *, missed: bool) -> None:
        """Count a tick that ran."""
        counters, safety = self._counters, self._guard.safety
        counters.add(_TICKS[safety.state])
        counters.set("turned_ns", now_ns)
        if safety.state is not _RUN:
            counters.add(_HELD[safety.cause])
        if missed:
            counters.add("misses")
        if now_ns >= self._copy_ns:
            self._copy_ns = now_ns + _COPIED_EVERY_NS
            self.copy(episode)

    def copy(self, episode: int) -> None:
        """Copy what is counted elsewhere."""
        counters, safety, drops = self._counters, self._guard.safety, self._client.drops
        for field, name in _DROPS:
            counters.set(name, getattr(drops, field))
        entered = dict.fromkeys(_ENTERED, 0)
        for (_, after, _), times in safety.transitions.items():
            entered[_ENTERED[after]] += times
        for name, times in entered.items():
            counters.set(name, times)
        counters.set("clamped", self._guard.counts.clamped)
        counters.set("far_observations", self._client.out_of_range)
        counters.set("state", safety.state)
        counters.set("ready", safety.state < State.SAFE)
        counters.set("episode", episode)
