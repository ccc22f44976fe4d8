"""Interleaved timing of several calls.

Calls timed in turn share the machine's drift, so their ratios hold where times do not.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]


def interleaved(
    calls: Mapping[str, Call], rounds: int, each: int = 10, after_round: Call = lambda: None
) -> dict[str, NDArray[np.int64]]:
    """Time each call in turn, with warm caches [ns].

    Args:
        calls: name -> timed call.
        rounds: number of rounds; in each, every call runs once untimed, then `each` times.
        each: timed calls per round.
        after_round: untimed call between rounds.

    Returns:
        Name -> durations. Each of shape (rounds · each,).
    """
    took: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            for _ in range(each):
                start = time.perf_counter_ns()
                call()
                took[name].append(time.perf_counter_ns() - start)
        after_round()
    return {name: np.array(times) for name, times in took.items()}
