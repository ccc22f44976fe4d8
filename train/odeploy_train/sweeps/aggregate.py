"""The evaluation protocol: what a method is worth over training seeds, and how surely that is known.

A trained policy's score is its mean over N fresh episodes, the same N for every method. Over seeds, and tasks
where there are several, the interquartile mean is told: the mean of the middle half, which a lucky or a broken
seed moves little. Its interval is a stratified percentile bootstrap, seeds drawn with replacement within each
task, as rliable has it (arXiv 2108.13264). The quarter that is cut at each end is rounded down: of up to three
values none is cut, and the interquartile mean is the mean.

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
        value: the interquartile mean.
        low, high: of the interval.
        seeds: that it was made of; the fewest of any task.
    """

    value: float
    low: float
    high: float
    seeds: int


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of all values; a quarter of them, rounded down, is cut at each end."""
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def aggregate(scores: Sequence[ArrayLike], seed: int = 0, resamples: int = RESAMPLES) -> Aggregate:
    """Interquartile mean over all tasks' seeds, with its interval.

    Args:
        scores: for each task, one score of each training seed.
        seed: of the resampling.
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
    """A method's score from those of its runs, each with `value`, `low`, `high`.

    With one seed the interval is that over its episodes.
    """
    if len(scores) > 1:
        return aggregate([[score["value"] for score in scores]])
    (only,) = scores
    return Aggregate(only["value"], only["low"], only["high"], 1)


def steps_to(threshold: float, steps: Sequence[int], scores: Sequence[float]) -> int | None:
    """Where a learning curve first reaches a threshold; None where it never does.

    No smoothing: a curve's points are means over episodes already, and the first one that reaches counts.
    """
    return next((at for at, score in zip(steps, scores, strict=True) if score >= threshold), None)


def late_score(curve: Mapping[str, Sequence[float]]) -> float | None:
    """Mean of a learning curve's scores in the last third of its time; None where it has no score.

    Where scores rise and fall from one to the next, what a run ends with is a draw among them; this is their mean.
    """
    wall_s = curve["wall_s"]
    late = [score for score, at in zip(curve["scores"], wall_s, strict=True) if at > wall_s[-1] * 2 / 3]
    return float(np.mean(late)) if late else None
