"""Statistics of a table row, each with its confidence interval."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Percentiles = dict[str, float | None]
"""`p50`, `p90`, `p99`, `p99.9` and `max` in µs; None where undefined."""

Z95 = 1.959963984540054
_MIN_TICKS_P999 = 10_000


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927).

    Unlike the normal approximation, it has a width at 0 and 1 too.
    """
    if trials == 0:
        return 0.0, 1.0
    p, z2 = successes / trials, Z95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of a mean of independent values."""
    data = np.asarray(values, np.float64)
    picks = np.random.default_rng(seed).integers(0, len(data), (resamples, len(data)))
    low, high = np.percentile(data[picks].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def block_interval(
    values: NDArray[np.int64],
    statistic: Callable[[NDArray[np.int64]], float],
    block: int = 50,
    resamples: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of correlated values by moving blocks (Künsch 1989).

    Args:
        values: one number per tick, in order.
        statistic: statistic of a resampled series.
        block: consecutive ticks that are resampled together.
        resamples: number of resampled series.
        seed: seed of the resampling.
    """
    block = min(block, len(values))
    blocks = -(-len(values) // block)
    starts = np.random.default_rng(seed).integers(0, len(values) - block + 1, (resamples, blocks))
    picks = (starts[..., None] + np.arange(block)).reshape(resamples, -1)[:, : len(values)]
    low, high = np.percentile([statistic(values[p]) for p in picks], (2.5, 97.5))
    return float(low), float(high)


def percentiles_us(values_ns: NDArray[np.int64]) -> Percentiles:
    """Return percentiles and maximum in µs.

    The p99.9 is None for less than 10⁴ values; all are None without values.
    """
    if len(values_ns) == 0:
        return dict.fromkeys(("p50", "p90", "p99", "p99.9", "max"))
    p50, p90, p99, p999 = np.percentile(values_ns, (50, 90, 99, 99.9)) / 1e3
    return {
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "p99.9": float(p999) if len(values_ns) >= _MIN_TICKS_P999 else None,
        "max": float(values_ns.max() / 1e3),
    }
