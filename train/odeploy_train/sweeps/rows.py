"""Rows of a sweep's table: a method on a task, over its seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odeploy_sim.catalogue import get, has
from odeploy_train.sweeps.aggregate import Aggregate, aggregate, late_score, over_seeds, steps_to
from odeploy_train.sweeps.published import PUBLISHED
from odeploy_train.sweeps.results import Line, outdated, version

THRESHOLDS = {"success": (0.5, 0.8), "return": (1000.0, 2500.0)}
"""Scores to which learning is timed, for tasks without `Task.thresholds`."""


@dataclass(frozen=True)
class Row:
    """A method on a task.

    Attributes:
        method: name of the method.
        seeds: number of seeds.
        scores: scores of the last policies over seeds, by noise level; lacks levels that were not scored.
        best: score of the best policies of the trainings, over seeds; None if a run has no learning curve.
        rescored: whether `best` is of fresh episodes, by the kept policies, and not the highest scores on the way.
        late: score in the last third of learning, over seeds; None if a run has none.
        reached: environment steps and minutes of learning to each threshold, medians over the seeds; None if
            any seed never reached it, or the method has no curve.
        trained_min: total time of learning [min], median over the seeds.
        published: published score; None for none.
        outdated: version of the training, if the method was corrected since.
    """

    method: str
    seeds: int
    scores: dict[str, Aggregate]
    best: Aggregate | None
    rescored: bool
    late: Aggregate | None
    reached: tuple[tuple[float, float] | None, ...]
    trained_min: float
    published: float | None
    outdated: int | None


def rows(task: str, measured: Sequence[Line]) -> list[Row]:
    """Return the rows of one task, in the order of the methods' first lines."""
    return [
        _row(method, [line for line in measured if line["method"] == method], task)
        for method in dict.fromkeys(line["method"] for line in measured)
    ]


def thresholds(task: str, measured: Sequence[Line]) -> tuple[float, ...]:
    """Return the scores to which learning on a task is timed.

    A task that is not catalogued has those of its lines.
    """
    own = get(task).thresholds if has(task) else tuple(measured[0].get("thresholds", ()))
    return own or THRESHOLDS[scored_by(task, measured)]


def scored_by(task: str, measured: Sequence[Line]) -> str:
    """Return the measure of an episode: `success` or `return`."""
    return get(task).scored_by if has(task) else str(measured[0]["scored_by"])


def last_scores(line: Line) -> dict[str, Any]:
    """Return the scores of a run's last policy, by noise level.

    Empty if only the best policy's file was scored.
    """
    scores: dict[str, Any] = line.get("last", {}) if _kept_best(line) else line["scores"]
    return scores


def best_score(line: Line) -> dict[str, Any] | None:
    """Return the score of a run's best policy at the first noise level.

    Without a file of that policy it is the highest score during training; None without a learning curve.
    """
    if _kept_best(line):
        score: dict[str, Any] = next(iter(line["scores"].values()))
        return score
    if not line["curve"]["scores"]:
        return None
    return dict.fromkeys(("value", "low", "high"), max(line["curve"]["scores"]))


def _kept_best(line: Line) -> bool:
    return bool(line.get("options", {}).get("keep") == "best")


def _row(method: str, measured: Sequence[Line], task: str) -> Row:
    last = [last_scores(line) for line in measured]
    levels = dict.fromkeys(level for scores in last for level in scores)
    best = [score for line in measured if (score := best_score(line)) is not None]
    late = [mean for line in measured if (mean := late_score(line["curve"])) is not None]
    return Row(
        method=method,
        seeds=len(measured),
        scores={level: over_seeds([scores[level] for scores in last if level in scores]) for level in levels},
        best=over_seeds(best) if len(best) == len(measured) else None,
        rescored=all(_kept_best(line) for line in measured),
        late=aggregate([late]) if len(late) == len(measured) else None,
        reached=tuple(_reached(measured, threshold) for threshold in thresholds(task, measured)),
        trained_min=statistics.median(line["train_s"] for line in measured) / 60,
        published=PUBLISHED.get(task, {}).get(method),
        outdated=version(measured[0]) if outdated(measured[0]) else None,
    )


def _reached(measured: Sequence[Line], threshold: float) -> tuple[float, float] | None:
    at: list[tuple[int, float]] = []
    for line in measured:
        curve: dict[str, Any] = line["curve"]
        steps = steps_to(threshold, curve["steps"], curve["scores"])
        if steps is None:
            return None
        at.append((steps, curve["wall_s"][curve["steps"].index(steps)] / 60))
    return statistics.median(steps for steps, _ in at), statistics.median(minutes for _, minutes in at)
