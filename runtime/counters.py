"""Counters of a loop that another process reads while it runs.

They lie in a few hundred bytes of shared memory, so whoever asks for them, however often, takes nothing from
the loop: it adds to an integer and knows nothing of readers. One process writes. A name is a Prometheus family,
or `family:label` for one of several of a kind.
"""

import mmap
import os
from collections.abc import Sequence

SERVER_COUNTERS = (
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
)
"""They only rise."""
SERVER_GAUGES = ("turned_ns", "sessions", "ready", "policy_epoch")
"""When the loop last turned on the monotonic clock, and what is now."""
SERVER_NAMES = (*SERVER_COUNTERS, *SERVER_GAUGES)
_BYTES = 8  # of an aligned integer, which one processor instruction writes and another reads whole


class Counters:
    """Integers by name, all 0 at first."""

    def __init__(self, names: Sequence[str], descriptor: int | None = None) -> None:
        """Opens them.

        Args:
            names: the same, in the same order, in both processes.
            descriptor: of the memory that `shareable` made; without one nobody else reads them.
        """
        self._places = {name: place for place, name in enumerate(names)}
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


def shareable(names: Sequence[str]) -> int:
    """Memory for such integers, as a descriptor that a child process can be given."""
    descriptor = os.memfd_create("odeploy-counters")
    os.ftruncate(descriptor, _BYTES * len(names))
    return descriptor


def server_counters(descriptor: int | None = None) -> Counters:
    """Those of a server; see `Counters`."""
    return Counters(SERVER_NAMES, descriptor)
