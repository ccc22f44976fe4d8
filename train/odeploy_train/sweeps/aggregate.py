"""The evaluation protocol: a method's score over training seeds, with an interval.

A trained policy's score is its mean over N fresh episodes, the same N for every method. Over seeds, and over
tasks, the interquartile mean is reported: the mean of the middle half, on which a lucky or a broken seed has
little effect. Its interval is a stratified percentile bootstrap: seeds are resampled within each task, as in
rliable (arXiv 2108.13264). The quarter cut at each end is rounded down: of up to three values none is cut, and the
interquartile mean is the mean.

With few seeds the interval is an indication: of three seeds a bootstrap can make ten different samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000


@dataclass(frozen=True)
class Aggregate:
    """One number for a method, with its 95 % interval.

    Attributes:
        value: interquartile mean.
        low, high: ends of the interval.
        seeds: number of seeds; the smallest of any task.
    """

    value: float
    low: float
    high: float
    seeds: int


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half of all values.

    A quarter of them, rounded down, is cut at each end.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def aggregate(scores: Sequence[ArrayLike], seed: int = 0, resamples: int = RESAMPLES) -> Aggregate:
    """Return the interquartile mean over all tasks' seeds, with its interval.

    Args:
        scores: for each task, one score per training seed.
        seed: seed of the resampling.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: a task without scores.
    """
    strata: list[NDArray[np.float64]] = [np.asarray(task, np.float64) for task in scores]
    if not strata or any(len(task) == 0 for task in strata):
        raise ValueError("every task needs a score")
    generator = np.random.default_rng(seed)
    drawn = [task[generator.integers(0, len(task), (resamples, len(task)))] for task in strata]
    means = [interquartile_mean(sample) for sample in np.concatenate(drawn, axis=1)]
    low, high = np.percentile(means, (2.5, 97.5))
    value = interquartile_mean(np.concatenate(strata))
    return Aggregate(value, float(low), float(high), min(len(task) for task in strata))


def over_seeds(scores: Sequence[Mapping[str, Any]]) -> Aggregate:
    """Return a method's score of its runs' scores, each with `value`, `low`, `high`.

    With one seed the interval is the one over its episodes.
    """
    if len(scores) > 1:
        return aggregate([[score["value"] for score in scores]])
    (only,) = scores
    return Aggregate(only["value"], only["low"], only["high"], 1)


def steps_to(threshold: float, steps: Sequence[int], scores: Sequence[float]) -> int | None:
    """Return the step at which a learning curve first reaches a threshold, else None.

    There is no smoothing: a curve's points are means over episodes already.
    """
    return next((at for at, score in zip(steps, scores, strict=True) if score >= threshold), None)


def late_score(curve: Mapping[str, Sequence[float]]) -> float | None:
    """Return the mean score in the last third of a learning curve's time, else None.

    Where scores rise and fall, the last one of a run is a sample of them; this is their mean.
    """
    wall_s = curve["wall_s"]
    late = [score for score, at in zip(curve["scores"], wall_s, strict=True) if at > wall_s[-1] * 2 / 3]
    return float(np.mean(late)) if late else None
