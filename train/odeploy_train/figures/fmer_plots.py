"""The figure of FMER on multigoal-2d: evolution, actions by place, greedy weights."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from odeploy_train.figures.fmer_field import Snapshot, towards
from odeploy_train.figures.goal_plots import COLOURS, draw_goals
from odeploy_train.figures.goal_shares import Ways

mpl.use("Agg")

PLACES_M = torch.cartesian_prod(torch.linspace(-4, 4, 5), torch.linspace(-4, 4, 5))
"""Places at which the policy is evaluated: x, y [m]. Shape (25, 2)."""
_PATHS = 120  # drawn paths
_ARROW_M = 0.85  # arrow length of an action of length 1
_PANEL_INCHES = 2.9


def draw(
    weighted: Sequence[tuple[Snapshot, Ways]], greedy: Sequence[tuple[Snapshot, Ways]], answers: Tensor
) -> Figure:
    """Draw a row of growing steps per training, and the final actions by place.

    Args:
        weighted: one training at growing steps, each with episodes of this stage.
        greedy: the same with weights that select the best candidate alone; may be empty.
        answers: actions of the last of `weighted` at `PLACES_M`. Shape (25, S, 2).
    """
    both = ("weighted candidates", weighted), ("best candidate alone", greedy)
    rows = [(name, row) for name, row in both if row]
    columns = max(len(row) for _, row in rows)
    widths = max(_PANEL_INCHES * columns + 0.6, 8.0), 5.6  # no narrower than the title above
    figure = Figure(figsize=(sum(widths), max(6.4, 0.9 + 3.4 * len(rows))), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=widths)
    left, right = halves
    left.suptitle(
        "At the start, where four goals are equally near: the flow carries noise (black) to actions,\n"
        "coloured by the goal that they make for, over the critics' value of each action: light is better",
        fontsize=11,
    )
    for axes, (name, row) in zip(left.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for panel in axes[len(row) :]:
            panel.set_axis_off()
        for panel, (snapshot, ways) in zip(axes, row, strict=False):
            _flow(panel, snapshot, ways)
        axes[0].set_ylabel(f"{name}\n\nvelocity_y, 2 m/s")
    each = f"{answers.shape[1]} actions at each black dot; discs are the goals"
    right.suptitle(f"What the finished policy samples, place by place:\n{each}", fontsize=11)
    _answers(right.subplots(), answers)
    return figure


def _flow(axes: Any, snapshot: Snapshot, ways: Ways) -> None:
    ticks, value = snapshot.side.numpy(), snapshot.value.numpy()
    axes.contourf(ticks, ticks, value, levels=12, cmap="Greys_r", alpha=0.75)
    axes.contour(ticks, ticks, value, levels=12, colors="white", linewidths=0.4)
    paths = snapshot.paths[:, :_PATHS]
    colours = _colours(paths[-1])
    lines = list(paths.permute(1, 0, 2).numpy())
    axes.add_collection(LineCollection(lines, colors=colours, alpha=0.45, linewidths=0.8))
    axes.scatter(*paths[0].T.numpy(), s=4, color="black", zorder=3, linewidths=0)
    axes.scatter(*paths[-1].T.numpy(), s=14, c=colours, zorder=4, edgecolors="white", linewidths=0.4)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip("ENWS", ways.shares, strict=True))
    axes.set_title(f"after {snapshot.card.steps:,} steps\nends: {shares}", fontsize=10)
    axes.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), aspect="equal", xlabel="velocity_x, 2 m/s")


def _answers(axes: Any, answers: Tensor) -> None:
    places = PLACES_M.numpy()
    for place, actions in zip(places, answers, strict=True):
        colours = _colours(actions)
        tips = place + _ARROW_M * actions.numpy()
        lines = np.stack([np.broadcast_to(place, tips.shape), tips], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=colours, alpha=0.3, linewidths=0.9))
        axes.scatter(*tips.T, s=3, c=colours, linewidths=0)
    axes.plot(*places.T, "o", ms=4, color="black")
    draw_goals(axes)
    axes.set(xlim=(-5.9, 5.9), ylim=(-5.9, 5.9), aspect="equal", xlabel="x, m", ylabel="y, m")
    axes.grid(alpha=0.2)


def _colours(actions: Tensor) -> list[str]:
    return [COLOURS[goal] for goal in towards(actions).tolist()]
