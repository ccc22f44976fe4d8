"""Counters of a loop, readable by another process while it runs.

They occupy a few hundred bytes of shared memory, so reading costs the loop nothing: the loop only adds to
integers. One process writes. A name is a Prometheus family, or `family:label` for one of several values of a
family.
"""

import mmap
import os
from dataclasses import dataclass

_BYTES = 8  # an aligned integer, which one processor instruction writes and another reads whole


@dataclass(frozen=True)
class CounterNames:
    """Names of a process's counters.

    Attributes:
        process: type of process, `server` or `robot`.
        counters: names of values that only rise.
        gauges: names of present values. A process with an HTTP endpoint has `ready`, and `turned_ns`: time of its
            loop's last iteration on the monotonic clock.
    """

    process: str
    counters: tuple[str, ...]
    gauges: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Return all names, in the order of their memory."""
        return (*self.counters, *self.gauges)


SERVER = CounterNames(
    process="server",
    counters=(
        "messages",
        "actions",
        "inference_ns",
        "errors:unknown_session",
        "errors:wrong_length",
        "errors:not_finite",
        "errors:malformed",
        "errors:inference_failed",
        "errors:far_outside",
        "far_observations",
        "refusals:protocol",
        "refusals:name",
        "refusals:rate",
        "refusals:mode",
        "refusals:task",
        "refusals:signals",
        "refusals:name_in_use",
        "refusals:full",
        "refusals:key",
        "refusals:handshake",
        "sessions_opened",
        "sessions_ended:goodbye",
        "sessions_ended:silent",
        "sessions_ended:replaced",
        "sessions_ended:disconnected",
        "dropped:rate_cap",
        "stream_ticks_skipped",
        "rehearsals",
        "swaps:swapped",
        "swaps:rolled_back",
        "swaps:refused",
        "shadow:fed",
        "shadow:dropped",
    ),
    gauges=("turned_ns", "ready", "sessions", "policy_epoch", "load_permille", "endpoint_closed"),
)


class Counters:
    """Integers by name in shared memory, initially 0.

    Attributes:
        names: their names.
    """

    def __init__(self, names: CounterNames, descriptor: int | None = None) -> None:
        """Map the memory.

        Args:
            names: names of the counters, the same in both processes.
            descriptor: memory from `shareable`; None for counters of this process only.
        """
        self.names = names
        self._places = {name: place for place, name in enumerate(names.all)}
        memory = mmap.mmap(-1 if descriptor is None else descriptor, _BYTES * len(self._places))
        self._values = memoryview(memory).cast("q")

    def add(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._values[self._places[name]] += by

    def set(self, name: str, value: int) -> None:
        """Set a gauge."""
        self._values[self._places[name]] = value

    def __getitem__(self, name: str) -> int:
        return self._values[self._places[name]]


def shareable(names: CounterNames) -> int:
    """Return memory for the counters, as a descriptor to pass to a child process."""
    descriptor = os.memfd_create("odeploy-counters")
    os.ftruncate(descriptor, _BYTES * len(names.all))
    return descriptor
