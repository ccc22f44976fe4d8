"""Calls timed in turn, so that the machine's drift falls on all of them alike: ratios hold where times do not."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]


def interleaved(
    calls: Mapping[str, Call], rounds: int, each: int = 10, after_round: Call = lambda: None
) -> dict[str, NDArray[np.int64]]:
    """Durations in ns of every kind of call, hot.

    Args:
        calls: name -> what is timed.
        rounds: in each of them every kind gets one call that does not count, then `each` that do.
        each: see there.
        after_round: called in between, untimed.

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
