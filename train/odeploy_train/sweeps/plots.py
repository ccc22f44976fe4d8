"""Plots of sweeps: learning curves against steps and time, scores against noise."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odeploy_runtime.reports.figure_file import write_png
from odeploy_train.sweeps.aggregate import over_seeds
from odeploy_train.sweeps.results import Line

mpl.use("Agg")

_COLOURS = ("#1f6feb", "#d4592a", "#2a9d5c", "#8e44ad", "#c79a00", "#4b5563", "#c2185b", "#0097a7", "#7c4a21")
_POINTS = 200


def draw(measured: Sequence[Line], path: Path) -> None:
    """Draw a row of panels per task: score against steps, minutes, and noise levels."""
    tasks = list(dict.fromkeys(line["task"] for line in measured))
    methods = list(dict.fromkeys(line["method"] for line in measured))
    colours = {method: _COLOURS[i % len(_COLOURS)] for i, method in enumerate(methods)}
    columns = 3 if any(len(line["scores"]) > 1 for line in measured) else 2
    figure = Figure(figsize=(4.6 * columns, 3.4 * len(tasks) + 0.4), layout="constrained")
    panels = figure.subplots(len(tasks), columns, squeeze=False)
    for row, task in zip(panels, tasks, strict=True):
        of_task = [line for line in measured if line["task"] == task]
        _curves(row[0], of_task, colours, "steps", 1e3, "thousand environment steps")
        _curves(row[1], of_task, colours, "wall_s", 60.0, "minutes of learning")
        if columns == 3:
            _noise(row[2], of_task, colours)
        row[0].set_ylabel(f"{task}\n{of_task[0]['scored_by']}")
    handles = [mpl.lines.Line2D([], [], color=colour, label=method) for method, colour in colours.items()]
    widest_in = 0.6 + 0.08 * max(map(len, methods))  # line, gap and name at 9 points
    fitting = max(1, int(figure.get_figwidth() / widest_in))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(methods), fitting), frameon=False, fontsize=9
    )
    write_png(figure, path, dpi=120)


def _curves(
    axes: Axes, measured: Sequence[Line], colours: dict[str, str], along: str, unit: float, label: str
) -> None:
    """Draw mean and range over seeds, or a dashed line at the final score."""
    for method, colour in colours.items():
        of_method = [line for line in measured if line["method"] == method]
        curves = [line["curve"] for line in of_method if line["curve"]["steps"]]
        if curves:
            end = min(curve[along][-1] for curve in curves)
            begin = max(curve[along][0] for curve in curves)
            x = np.linspace(begin, end, _POINTS)
            y = np.array([np.interp(x, curve[along], curve["scores"]) for curve in curves])
            axes.plot(x / unit, y.mean(axis=0), color=colour)
            axes.fill_between(x / unit, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        elif of_method:
            final = np.mean([next(iter(line["scores"].values()))["value"] for line in of_method])
            axes.axhline(float(final), color=colour, linestyle="--", linewidth=1)
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)


def _noise(axes: Axes, measured: Sequence[Line], colours: dict[str, str]) -> None:
    """Draw the score with its interval, at each level."""
    for method, colour in colours.items():
        of_method = [line for line in measured if line["method"] == method]
        levels = sorted({float(level) for line in of_method for level in line["scores"]})
        if not levels:
            continue
        made = [over_seeds([line["scores"][f"{level:g}"] for line in of_method]) for level in levels]
        axes.plot(levels, [a.value for a in made], color=colour, marker="o", markersize=3)
        axes.fill_between(
            levels, [a.low for a in made], [a.high for a in made], color=colour, alpha=0.15, linewidth=0
        )
    axes.set_xlabel("noise level of the task")
    axes.grid(alpha=0.25)
