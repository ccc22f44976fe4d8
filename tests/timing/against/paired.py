"""Paired-block bootstrap: how much longer durations of one kind are than those of another, in percent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Turns = Sequence[NDArray[np.int64]]
"""Durations [ns] of each turn; turns may differ in length."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """A percentile of one kind against another's."""

    ours_ns: float
    theirs_ns: float
    percent: float
    """100 · (ours / theirs − 1)."""
    low: float
    """Lower end of the 95 % interval of `percent`."""
    high: float
    """Upper end."""


def difference(ours: Turns, theirs: Turns, percentile: float, seed: int = 0) -> Difference:
    """Compare a percentile of all ticks, with a 95 % bootstrap interval over pairs of turns.

    Pairs are resampled whole: what drifts between pairs cancels in the ratio, and the correlation of ticks
    within a turn widens the interval as it should.

    Args:
        ours: durations of turn k.
        theirs: durations of the turn that was paired with it.
        percentile: 0 to 100.
        seed: seed of the resampling.
    """
    pairs = len(ours)
    if pairs != len(theirs) or pairs == 0:
        raise ValueError(f"{pairs} turns of ours, {len(theirs)} of theirs: give pairs")
    ours_ns, theirs_ns = _pooled(ours, range(pairs), percentile), _pooled(theirs, range(pairs), percentile)
    picks = np.random.default_rng(seed).integers(0, pairs, (_RESAMPLES, pairs))
    ratios = [_pooled(ours, pick, percentile) / _pooled(theirs, pick, percentile) for pick in picks]
    low, high = (np.percentile(ratios, (2.5, 97.5)) - 1) * 100
    return Difference(ours_ns, theirs_ns, (ours_ns / theirs_ns - 1) * 100, float(low), float(high))


def self_difference(turns: Turns, percentile: float, seed: int = 0) -> Difference:
    """Compare a kind with itself, the first of each two turns with the second: the noise of a comparison."""
    even = len(turns) // 2 * 2
    return difference(turns[0:even:2], turns[1:even:2], percentile, seed)


def _pooled(turns: Turns, pick: Sequence[int] | range, percentile: float) -> float:
    return float(np.percentile(np.concatenate([turns[i] for i in pick]), percentile))
