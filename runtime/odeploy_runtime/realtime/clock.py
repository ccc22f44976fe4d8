"""Time for a control loop: one monotonic clock and absolute deadlines.

`time.sleep` to an absolute deadline is `clock_nanosleep` since Python 3.11 and holds 1 kHz; relative sleeps drift
to 923 Hz. A missed grid point is skipped and counted, never replayed in a burst.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

ANSWERS_CHECKED = 20
"""Answers by which a robot notices that the server has another clock."""


class Clock(Protocol):
    """Source of time; tests use a fake one."""

    def now_ns(self) -> int:
        """Return the time of a clock that never goes back [ns]."""

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at or after the deadline."""


class MonotonicClock:
    """CLOCK_MONOTONIC, the same in all processes of one host.

    Changes of the wall clock do not affect it.
    """

    def __init__(self, spin_ns: int = 0) -> None:
        """Create a clock that busy-waits the last `spin_ns` of each sleep.

        It is punctual, at the cost of a core.
        """
        self._spin_ns = spin_ns

    def now_ns(self) -> int:
        """Return the time since boot [ns]."""
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Sleep until the deadline; return at once if it has passed."""
        remaining_ns = deadline_ns - self._spin_ns - time.monotonic_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns * 1e-9)
        while self._spin_ns and time.monotonic_ns() < deadline_ns:
            pass


@dataclass(frozen=True, slots=True)
class Tick:
    """One grid point for which the loop woke.

    Attributes:
        number: k, counted from the grid's start; skipped points leave gaps.
        due_ns: due time, start + k · T.
        woke_ns: time at which the loop actually ran.
    """

    number: int
    due_ns: int
    woke_ns: int


class Rate:
    """Absolute grid of deadlines: tick k is due at start + k · T.

    Times are computed from k, never summed, so no error accumulates. After an overrun the loop runs the grid point
    of the present period, late by less than T, and skips those before.
    """

    def __init__(self, rate_hz: float, clock: Clock) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start a new grid; its first tick is due one period from now."""
        self._start_ns = self._clock.now_ns() + self.period_ns
        self._next = 0

    def due_ns(self, number: int) -> int:
        """Return the due time of tick `number`."""
        return self._start_ns + number * self.period_ns

    def wait(self, before: Callable[[int], None] | None = None) -> Tick:
        """Sleep to the next grid point; call `before` with its due time first."""
        behind = (self._clock.now_ns() - self._start_ns) // self.period_ns
        number = max(self._next, behind)
        self._next = number + 1
        due_ns = self.due_ns(number)
        if before is not None:
            before(due_ns)
        self._clock.sleep_until_ns(due_ns)
        return Tick(number, due_ns, self._clock.now_ns())


def in_order(stamps: Sequence[int]) -> bool:
    """Return whether no stamp is earlier than one before it; 0 is a missing stamp."""
    taken = [stamp for stamp in stamps if stamp]
    return all(a <= b for a, b in itertools.pairwise(taken))


def steal_ticks() -> int:
    """Return the CPU time taken by the hypervisor since boot [1/100 s].

    It predicts tails above 1 ms.
    """
    with open("/proc/stat") as stat:  # noqa: PTH123
        return int(stat.readline().split()[8])
