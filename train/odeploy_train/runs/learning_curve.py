"""TensorBoard's files of a training: scores against steps and against time."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

Info = dict[str, Tensor]
"""Figures of one update, by name; scalars."""
_PARTS_S = ("wall/collect_s", "wall/update_s")


@dataclass(frozen=True)
class LearningCurve:
    """Scores of the deterministic policy during training.

    Attributes:
        steps: environment steps.
        scores: success or return, as the task is scored.
        wall_s: time of collecting and updating until then [s], without scoring, over all parts of an interrupted
            run.
    """

    steps: tuple[int, ...]
    scores: tuple[float, ...]
    wall_s: tuple[float, ...]


def writer(folder: Path, step: int) -> SummaryWriter:
    """Open a writer for figures after a step; drop later ones of a killed process.

    Args:
        folder: run folder.
        step: step at which the run begins or continues; figures of this step itself stay.
    """
    return SummaryWriter(str(folder), purge_step=step + 1)


def read(folder: Path, scored_by: str) -> LearningCurve:
    """Read the curve of a run folder; empty if the method writes no scores.

    Args:
        folder: run folder.
        scored_by: `success` or `return`.
    """
    events = _events(folder)
    tags = events.Tags()["scalars"]
    if f"score/{scored_by}" not in tags:
        return LearningCurve((), (), ())
    points = events.Scalars(f"score/{scored_by}")
    spent_at = np.array([event.step for event in events.Scalars(_PARTS_S[0])])
    spent_s = np.cumsum(np.sum([[event.value for event in events.Scalars(part)] for part in _PARTS_S], axis=0))
    reached = np.searchsorted(spent_at, [point.step for point in points], side="right") - 1
    return LearningCurve(
        tuple(point.step for point in points),
        tuple(round(float(point.value), 4) for point in points),
        tuple(round(float(spent_s[i]), 1) for i in reached),
    )


def train_s(folder: Path) -> float:
    """Return the time of learning [s], without scoring and startup."""
    events = _events(folder)
    if _PARTS_S[0] in events.Tags()["scalars"]:
        return float(sum(event.value for part in _PARTS_S for event in events.Scalars(part)))
    rates = events.Scalars("steps_per_s")
    steps = np.diff([0, *(event.step for event in rates)])
    return float(sum(steps / [event.value for event in rates]))


def _events(folder: Path) -> EventAccumulator:
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it logs every file of an interrupted run
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events
