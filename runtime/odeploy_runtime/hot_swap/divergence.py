"""The packet and the shared numbers that a server exchanges with its shadow."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.realtime.counters import CounterNames, Counters

HEAD = struct.Struct("<5Q")
"""Head of a packet: session, seed, episode, seq, policy epoch; the observation and the action follow."""
_NANO, _MOST = 1e-9, 2**62


class Divergence(NamedTuple):
    """Difference between a shadow's actions and the served ones.

    It counts from the served policy's first tick.

    Attributes:
        compared: number of compared ticks.
        mean, max: mean and maximum of |shadow - served| over all actions of the horizon, on unit scale. Shapes
            (A,).
    """

    compared: int
    mean: NDArray[np.float32]
    max: NDArray[np.float32]


def shadow_names(actions: int) -> CounterNames:
    """Return the names of the numbers that a shadow publishes, for A signals."""
    divergence = (f"{kind}:{i}" for kind in ("mean", "max") for i in range(actions))
    return CounterNames("shadow", ("compared",), tuple(divergence))


def read_divergence(counters: Counters, actions: int) -> Divergence:
    """Read a divergence from the memory that a shadow writes."""
    mean, largest = (
        np.array([counters[f"{kind}:{i}"] * _NANO for i in range(actions)], np.float32) for kind in ("mean", "max")
    )
    return Divergence(counters["compared"], mean, largest)


def write_divergence(
    counters: Counters, compared: int, mean: NDArray[np.float64], largest: NDArray[np.float64]
) -> None:
    """Write a divergence for `read_divergence`, to 1e-9. Shapes (A,)."""
    for i in range(len(mean)):
        counters.set(f"mean:{i}", round(min(mean[i] / _NANO, _MOST)))
        counters.set(f"max:{i}", round(min(largest[i] / _NANO, _MOST)))
    counters.set("compared", compared)
