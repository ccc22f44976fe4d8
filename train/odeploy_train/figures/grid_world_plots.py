"""The figure of the grid world's saddle: world, flow, actions of both policies."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from odeploy_sim.environments.grid_world import MOVES_FROM, REACH, two_walls
from odeploy_train.figures.grid_world import ROW, FlowAtSaddle, modes, most_balanced

mpl.use("Agg")

_UP, _DOWN, _STILL, _GOAL = "#1f6feb", "#d4592a", "#8a8f98", "#2a9d5c"
_PATHS = 100  # of the noises whose way is drawn


def draw(flow: FlowAtSaddle, gaussian: Tensor) -> Figure:
    """Four panels in a row."""
    figure = Figure(figsize=(15.2, 4.4), layout="constrained")
    asked = f"which way do {gaussian.shape[1]:,} actions go?"
    figure.suptitle(f"From the grid world's middle row both goals are equally near: {asked}")
    world, field, left, right = figure.subplots(1, 4)
    _world(world, {"FPO": flow.commands, "Gaussian": gaussian})
    _field(field, flow)
    _commands(left, "FPO", flow.commands)
    _commands(right, "Gaussian PPO", gaussian)
    reach = max(axes.get_ylim()[1] for axes in (left, right))
    for axes in (left, right):  # one scale, so that the two compare
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    return figure


def _world(axes: Any, policies: dict[str, Tensor]) -> None:
    edge = REACH + 0.5
    for y in np.argwhere(two_walls()[:, 0] > 0).ravel() - REACH:
        axes.add_patch(Rectangle((-edge, y - 0.5), 2 * edge, 1, color=_GOAL, alpha=0.8, linewidth=0))
    for sign, colour in ((1, _UP), (-1, _DOWN)):
        axes.annotate("", (8, sign * (REACH - 1.8)), (8, 0), arrowprops={"color": colour, "width": 2.5})
        axes.text(0, sign * (REACH - 0.5), "goal", ha="center", va="center", color="white", fontsize=9)
    axes.axhspan(-0.5, 0.5, color="#b8bcc4", linewidth=0)
    for (name, commands), height in zip(policies.items(), (1.6, -1.6), strict=True):
        x = ROW[most_balanced(commands)][0]
        axes.plot(x, 0, "o", color="black", ms=6)
        axes.text(x, height, f"{name}, shown here", ha="center", va="center", fontsize=9)
    axes.set_xticks(np.arange(-edge, edge + 1), minor=True)
    axes.set_yticks(np.arange(-edge, edge + 1), minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    axes.set_title("the world", fontsize=11)
    axes.set(xlabel="x, cells", ylabel="y, cells", aspect="equal")
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge))


def _field(axes: Any, flow: FlowAtSaddle) -> None:
    paths, slopes = flow.paths[:, :_PATHS].numpy(), flow.slopes.numpy()
    axes.quiver(*flow.points.numpy().T, *slopes.T, color="#b8bcc4", angles="xy", width=0.004, zorder=1)
    colours = _colours(flow.commands[most_balanced(flow.commands), :_PATHS])
    axes.add_collection(LineCollection(list(paths.transpose(1, 0, 2)), colors=colours, alpha=0.35, linewidths=0.9))
    axes.scatter(*paths[0].T, s=5, color="black", zorder=3)
    axes.scatter(*paths[-1].T, s=10, c=colours, zorder=4)
    axes.set_title("FPO's flow: noise (black) becomes an action\n(grey arrows: velocity at t = 0)", fontsize=11)
    unit = "before tanh" if flow.squash else "cells"
    axes.set(xlabel=f"move_x on its way, {unit}", ylabel=f"move_y on its way, {unit}", aspect="equal")


def _commands(axes: Any, name: str, commands: Tensor) -> None:
    cell = most_balanced(commands)
    commands = commands[cell]
    shares = modes(commands)
    axes.axhspan(-MOVES_FROM, MOVES_FROM, color="#e9ebee", zorder=0)
    axes.scatter(*commands.numpy().T, s=6, c=_colours(commands), alpha=0.5, linewidths=0)
    reach = 1.15 * max(2.0, float(commands.abs().max()))
    for y, text, colour in (
        (0.95, f"up {shares.up:.0%}", _UP),
        (0.5, f"stands still {shares.still:.0%}", "#4b5563"),
        (0.05, f"down {shares.down:.0%}", _DOWN),
    ):
        axes.text(0.04, y, text, color=colour, fontsize=10, va="center", weight="bold", transform=axes.transAxes)
    axes.set_title("{}, cell ({:g}, {:g})".format(name, *ROW[cell]), fontsize=11)
    axes.set(xlabel="move_x, cells", ylabel="move_y, cells", aspect="equal")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))


def _colours(commands: Tensor) -> list[str]:
    return [_UP if y > MOVES_FROM else _DOWN if y < -MOVES_FROM else _STILL for y in commands[:, 1].tolist()]
