"""Time for a control loop: one monotonic clock and absolute deadlines.

`time.sleep` to an absolute deadline is `clock_nanosleep` since Python 3.11 and holds 1 kHz; relative sleeps
drift to 923 Hz. A point of the grid that passed is skipped and counted, never replayed in a burst.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where time comes from, so that tests need none."""

    def now_ns(self) -> int:
        """Nanoseconds of a clock that never goes back."""

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Returns at or after the deadline."""


class MonotonicClock:
    """CLOCK_MONOTONIC: the same in all processes of one host, deaf to changes of the wall clock."""

    def __init__(self, spin_ns: int = 0) -> None:
        """A clock whose sleeps end `spin_ns` early, and are waited out busily: on time, for a core's work."""
        self._spin_ns = spin_ns

    def now_ns(self) -> int:
        """Nanoseconds since boot."""
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Sleeps; a deadline in the past returns at once."""
        remaining_ns = deadline_ns - self._spin_ns - time.monotonic_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns * 1e-9)
        while self._spin_ns and time.monotonic_ns() < deadline_ns:
            pass


@dataclass(frozen=True, slots=True)
class Tick:
    """One point of the grid that the loop woke for.

    Attributes:
        number: k, counted from the grid's start; skipped points leave gaps.
        due_ns: start + k · T.
        woke_ns: when the loop really ran.
    """

    number: int
    due_ns: int
    woke_ns: int


class Rate:
    """An absolute grid of deadlines: tick k is due at start + k · T.

    Time is computed from k, never summed up, so no error accumulates. A loop that overran runs the grid
    point in whose period it is now, late by less than T, and skips those before.
    """

    def __init__(self, rate_hz: float, clock: Clock) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Lays a new grid whose first tick is due one period from now."""
        self._start_ns = self._clock.now_ns() + self.period_ns
        self._next = 0

    def due_ns(self, number: int) -> int:
        """When tick `number` is due."""
        return self._start_ns + number * self.period_ns

    def wait(self, before: Callable[[int], None] | None = None) -> Tick:
        """Sleeps to the next point of the grid; `before` is called ahead of that with the due time."""
        behind = (self._clock.now_ns() - self._start_ns) // self.period_ns
        number = max(self._next, behind)
        self._next = number + 1
        due_ns = self.due_ns(number)
        if before is not None:
            before(due_ns)
        self._clock.sleep_until_ns(due_ns)
        return Tick(number, due_ns, self._clock.now_ns())


def steal_ticks() -> int:
    """CPU time that the hypervisor took from this machine, 1/100 s since boot; it predicts tails above 1 ms."""
    with open("/proc/stat") as stat:  # noqa: PTH123
        return int(stat.readline().split()[8])
