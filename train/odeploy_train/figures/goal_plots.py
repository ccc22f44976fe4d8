"""The figure of multigoal-2d: paths of each method's episodes, and their ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from odeploy_sim.environments.multigoal import GOALS_M, REACHED_M
from odeploy_train.figures.goal_shares import GOALS, KEPT, Ways

mpl.use("Agg")

COLOURS = ("#d4592a", "#1f6feb", "#2a9d5c", "#8e44ad")
"""Of the goals, in their order."""
NOWHERE = "#b8bcc4"
_MOST_WAYS = 100  # drawn of all seeds together
_REACH_M = 6.4


def draw(methods: Mapping[str, Sequence[Ways]]) -> Figure:
    """Draw a column per method: its episodes' paths, and the shares of its seeds."""
    columns = len(methods)
    figure = Figure(figsize=(max(2.7 * columns, 10.5), 6.2), layout="constrained")
    episodes = sum(len(ways.goals) for ways in next(iter(methods.values())))
    figure.suptitle(
        "Four goals are equally near to the start: to which of them does a policy go, acting by one raw sample a "
        f"tick?\n{episodes:,} episodes a method; a goal counts as kept from {KEPT:.0%} of a seed's episodes on"
    )
    axes = figure.subplots(2, columns, squeeze=False, sharey="row", height_ratios=(1.15, 1))
    for (name, runs), above, below in zip(methods.items(), *axes, strict=True):
        four = sum(bool(ways.kept.all()) for ways in runs)
        above.set_title("\n".join([*name.split(", "), f"all four kept: {four} of {len(runs)} seeds"]), fontsize=10)
        _ways(above, runs)
        _shares(below, runs)
    axes[0, 0].set_ylabel("y, m")
    axes[1, 0].set_ylabel("share of episodes")
    handles = [mpl.patches.Patch(color=colour, label=goal) for goal, colour in zip(GOALS, COLOURS, strict=True)]
    handles.append(mpl.patches.Patch(color=NOWHERE, label="none within the horizon"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="the episode ends at")
    return figure


def draw_goals(axes: Any) -> None:
    """Draw the four goals as discs of the radius at which they count as reached."""
    for goal, colour in zip(GOALS_M, COLOURS, strict=True):
        axes.add_patch(mpl.patches.Circle(goal, REACHED_M, facecolor=colour, edgecolor="black", linewidth=0.8))


def _ways(axes: Any, runs: Sequence[Ways]) -> None:
    each = max(1, _MOST_WAYS // len(runs))
    parts = [slice(k, each * len(runs), len(runs)) for k in range(len(runs))]  # starts are the same for all seeds
    lines = [way for ways, part in zip(runs, parts, strict=True) for way in ways.positions[part]]
    goals = np.concatenate([ways.goals[part] for ways, part in zip(runs, parts, strict=True)])
    colours = [NOWHERE if goal < 0 else COLOURS[goal] for goal in goals]
    axes.add_collection(LineCollection(lines, colors=colours, alpha=0.5, linewidths=0.7))
    draw_goals(axes)
    axes.set(xlim=(-_REACH_M, _REACH_M), ylim=(-_REACH_M, _REACH_M), aspect="equal", xlabel="x, m")
    axes.grid(alpha=0.2)


def _shares(axes: Any, runs: Sequence[Ways]) -> None:
    places = np.arange(len(runs))
    bottom = np.zeros(len(runs))
    shares = np.array([ways.shares for ways in runs])
    for column, colour in zip(shares.T, COLOURS, strict=True):
        axes.bar(places, column, bottom=bottom, color=colour, width=0.8)
        bottom += column
    axes.bar(places, 1 - bottom, bottom=bottom, color=NOWHERE, width=0.8)
    for place, ways in zip(places, runs, strict=True):
        axes.text(place, 1.02, f"{ways.kept.sum()}", ha="center", fontsize=9)
    axes.set_xticks(places, [str(ways.card.seed) for ways in runs])
    axes.set(xlabel="seed (above: goals kept)", ylim=(0, 1.1))
    axes.spines[["top", "right"]].set_visible(False)
