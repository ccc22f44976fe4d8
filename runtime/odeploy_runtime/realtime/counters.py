"""Counters of a loop that another process reads while it runs.

They lie in a few hundred bytes of shared memory, so whoever asks for them, however often, takes nothing from
the loop: it adds to an integer and knows nothing of readers. One process writes. A name is a Prometheus family,
or `family:label` for one of several of a kind.
"""

import mmap
import os
from dataclasses import dataclass

_BYTES = 8  # of an aligned integer, which one processor instruction writes and another reads whole


@dataclass(frozen=True)
class CounterNames:
    """What a process counts.

    Attributes:
        of: whose they are.
        counters: they only rise.
        gauges: what is now. One that is reported over HTTP has `ready`, and `turned_ns`: when its loop last
            turned, on the monotonic clock.
    """

    of: str
    counters: tuple[str, ...]
    gauges: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """All of them, in the order in which they lie in memory."""
        return (*self.counters, *self.gauges)


SERVER = CounterNames(
    of="server",
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
        "refusals:rate",
        "refusals:mode",
        "refusals:signals",
        "refusals:name_in_use",
        "refusals:full",
        "refusals:key",
        "refusals:handshake",
        "sessions_opened",
        "sessions_ended:goodbye",
        "sessions_ended:silent",
        "sessions_ended:replaced",
        "dropped:rate_cap",
        "stream_ticks_skipped",
        "rehearsals",
        "swaps:swapped",
        "swaps:rolled_back",
        "swaps:refused",
        "shadow:fed",
        "shadow:dropped",
    ),
    gauges=("turned_ns", "ready", "sessions", "policy_epoch"),
)


class Counters:
    """Integers by name, all 0 at first.

    Attributes:
        names: of them.
    """

    def __init__(self, names: CounterNames, descriptor: int | None = None) -> None:
        """Opens them.

        Args:
            names: the same in both processes.
            descriptor: of the memory that `shareable` made; without one nobody else reads them.
        """
        self.names = names
        self._places = {name: place for place, name in enumerate(names.all)}
        memory = mmap.mmap(-1 if descriptor is None else descriptor, _BYTES * len(self._places))
        self._values = memoryview(memory).cast("q")

    def add(self, name: str, by: int = 1) -> None:
        """Counts."""
        self._values[self._places[name]] += by

    def set(self, name: str, value: int) -> None:
        """Says what is now."""
        self._values[self._places[name]] = value

    def __getitem__(self, name: str) -> int:
        return self._values[self._places[name]]


def shareable(names: CounterNames) -> int:
    """Memory for such integers, as a descriptor that a child process can be given."""
    descriptor = os.memfd_create("odeploy-counters")
    os.ftruncate(descriptor, _BYTES * len(names.all))
    return descriptor
