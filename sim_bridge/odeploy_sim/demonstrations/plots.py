"""Plots of a demonstration dataset: returns, lengths, and paths from above."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_sim.environments.multigoal import GOALS_M
from odeploy_sim.tasks.task import Task

mpl.use("Agg")

_SOLVED, _FAILED, _GOAL = "#1f6feb", "#d4592a", "#2a9d5c"
_MOST_DRAWN = 300


def draw(title: str, task: Task, demonstrations: Demonstrations) -> Figure:
    """Draw histograms of returns and lengths, and paths from above to goals."""
    plane = _plane(task)
    figure = Figure(figsize=(11 if plane else 9, 5.6 if plane else 3.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    if plane:
        grid = figure.add_gridspec(2, 2, width_ratios=(1.35, 1))
        _paths(figure.add_subplot(grid[:, 0]), task, demonstrations, plane)
        axes = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    else:
        axes = tuple(figure.subplots(1, 2))
    _histogram(axes[0], demonstrations.returns, demonstrations.successes, "return of an episode")
    _histogram(axes[1], demonstrations.lengths, demonstrations.successes, "ticks of an episode")
    return figure


def _histogram(axes: Any, values: NDArray[Any], successes: NDArray[np.bool_] | None, label: str) -> None:
    bins: Any = 30
    if values.min() == values.max():  # one bar of a readable width
        bins = (values.min() - 0.5, values.min() + 0.5)
        axes.set_xlim(values.min() - 5, values.min() + 5)
    if successes is None or successes.all():
        axes.hist(values, bins, color=_SOLVED)
    else:
        parts = [values[successes], values[~successes]]
        axes.hist(parts, bins, stacked=True, color=[_SOLVED, _FAILED], label=["solved", "not solved"])
        axes.legend(fontsize=8)
    axes.axvline(values.mean(), color="black", linestyle=":", linewidth=1)
    axes.set(xlabel=f"{label} (dotted: mean {values.mean():.4g})", ylabel="episodes")
    axes.locator_params(axis="x", nbins=7)
    axes.grid(alpha=0.3)


def _paths(axes: Any, task: Task, demonstrations: Demonstrations, plane: list[int]) -> None:
    episodes = np.split(demonstrations.observations, demonstrations.starts[1:])[:_MOST_DRAWN]
    successes = demonstrations.successes
    solved = np.ones(len(episodes), bool) if successes is None else successes[: len(episodes)]
    colours = [_SOLVED if s else _FAILED for s in solved]
    axes.add_collection(
        LineCollection([e[:, plane] for e in episodes], colors=colours, alpha=0.35, linewidths=0.8)
    )
    starts, goals = np.array([e[0, plane] for e in episodes]), _goals(task, episodes)
    axes.plot(*starts.T, ".", ms=4, color="black", label="start")
    axes.plot(*goals.T, "*", ms=8, color=_GOAL, markeredgecolor="white", markeredgewidth=0.4, label="goal")
    x, y = (task.observation_names[i] for i in plane)
    shown = (
        f"{len(episodes)} episodes" if len(episodes) == len(demonstrations.starts) else f"first {len(episodes)}"
    )
    axes.set_title(f"{shown}, orange: not solved" if not solved.all() else shown, fontsize=9)
    axes.set(xlabel=f"{x}, m", ylabel=f"{y}, m", aspect="equal", adjustable="datalim")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _plane(task: Task) -> list[int]:
    """Return the columns of the position that has to reach the goal.

    It is the block's, if there is one.
    """
    signals = {s.name: i for i, s in enumerate(task.observation) if s.unit == "m"}
    pairs = [(name, f"{name[:-1]}y") for name in signals if name.endswith("x") and f"{name[:-1]}y" in signals]
    places = [pair for pair in pairs if not pair[0].startswith("goal_")]
    turning = "goal_quaternion_w" in task.observation_names
    if turning or not places or ("goal_x" not in signals and task.name != "multigoal-2d"):
        return []
    return [signals[name] for name in min(places, key=lambda pair: pair[0] != "block_x")]


def _goals(task: Task, episodes: list[NDArray[np.float32]]) -> NDArray[Any]:
    if task.name == "multigoal-2d":
        return GOALS_M
    columns = [task.observation_names.index(f"goal_{axis}") for axis in "xy"]
    return np.array([e[0, columns] for e in episodes])
