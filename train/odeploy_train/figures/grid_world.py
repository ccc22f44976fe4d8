"""The grid world's saddle, the row with equal distance to both goals.

A bimodal policy goes up or down at random. A Gaussian settles on one of them, or has its mean in between, where a
command is too small to move (after FPO's grid world, arXiv 2507.21053).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_sim.environments.grid_world import MOVES_FROM, REACH
from odeploy_train.modules.ode import Field, Tableau, integrate, solver, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.mlp import MlpPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import RunCard, load_policy

TASK = "grid-world"
ROW = tuple((float(x), 0.0) for x in range(-REACH, REACH + 1))
"""Cells of the saddle. All 25 are equal for the world, not for a network: where a trained policy switches between
up and down is chance. So a policy is shown in the cell of the row where it is most balanced."""


@dataclass(frozen=True)
class Modes:
    """Shares of commands by their effect; they sum to 1."""

    up: float
    down: float
    still: float
    """Commands too small along y: the token moves to neither goal."""


@dataclass(frozen=True)
class FlowAtSaddle:
    """Flow at the saddle.

    Attributes:
        commands: commands in cells, before the world's limits, per cell of the row. Shape (25, S, 2).
        paths: x_t of each noise in the most balanced cell, in the flow's units. Shape (K + 1, S, 2).
        points, slopes: velocity there at t = 0, on a grid. Shapes (G, 2).
        squash: whether commands are tanh of the paths' ends.
    """

    commands: Tensor
    paths: Tensor
    points: Tensor
    slopes: Tensor
    squash: bool


def both_ways(commands: Tensor) -> int:
    """Count the cells in which a policy goes each way more often than it stands still.

    It has two modes there. A Gaussian would need a standard deviation above 1.16 cells. Shape (25, S, 2).
    """
    found = [modes(of_cell) for of_cell in commands]
    return sum(min(shares.up, shares.down) > shares.still for shares in found)


def most_balanced(commands: Tensor) -> int:
    """Return the cell in which the rarer of the two ways is most frequent.

    Shape (25, S, 2).
    """
    found = [modes(of_cell) for of_cell in commands]
    return max(range(len(found)), key=lambda cell: min(found[cell].up, found[cell].down))


def modes(commands: Tensor) -> Modes:
    """Return the shares of commands in cells. Shape (S, 2)."""
    y = commands[:, 1]
    up, down = (y > MOVES_FROM).float().mean().item(), (y < -MOVES_FROM).float().mean().item()
    return Modes(up, down, 1 - up - down)


@torch.no_grad()
def flow_at_saddle(run: Path, samples: int, seed: int, side: int = 11) -> FlowAtSaddle:
    """Sample a trained flow, by the solver of its rollouts, and its field.

    Args:
        run: folder of a finished run of `train fpo` or another flow on the grid world.
        samples: number S of noises.
        seed: seed of the noise.
        side: points of the field along each direction, up to the reach of the paths.

    Raises:
        ContractError: another task, or no flow.
    """
    policy, card = load_policy(run)
    if not isinstance(policy, FlowPolicy):
        raise _wrong("--fpo", run, card, "a flow policy", "odeploy train fpo")
    _require_grid_world("--fpo", run, card)
    if not policy.config.squash:
        _lift_limits(policy)
    t_grid, tableau = uniform_grid(card.config["solver_steps"]), solver(card.config["solver"])
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
    paths = torch.stack([_path(_field(policy, cell, samples), noise, tableau, t_grid) for cell in ROW])
    commands = policy.to_robot(paths[:, -1])
    cell = most_balanced(commands)
    reach = paths[cell].abs().max().item()
    ticks = torch.linspace(-reach, reach, side)
    points = torch.cartesian_prod(ticks, ticks)
    slopes = _field(policy, ROW[cell], len(points))(0.0, points)
    return FlowAtSaddle(commands, paths[cell], points, slopes, policy.config.squash)


@torch.no_grad()
def gaussian_at_saddle(run: Path, samples: int, seed: int) -> Tensor:
    """Sample commands of a trained Gaussian policy in cells, before the limits.

    Args:
        run: folder of a finished run of `train ppo` on the grid world.
        samples: number S of commands per cell.
        seed: seed of the noise.

    Returns:
        Commands of each cell of the row. Shape (25, S, 2).

    Raises:
        ContractError: another task, or another kind of policy.
    """
    policy, card = load_policy(run)
    if not isinstance(policy, MlpPolicy) or card.method != "ppo":
        raise _wrong("--gaussian", run, card, "a Gaussian policy", "odeploy train ppo")
    _require_grid_world("--gaussian", run, card)
    half = (policy.high - policy.low) / 2
    _lift_limits(policy)
    saved: Any = checkpoint.load(run)
    row, actor = torch.tensor(ROW, dtype=torch.float64), saved["modules"]["actor"]
    log_std = actor["log_std"].expand(len(row), -1)
    if "spread.weight" in actor:  # a deviation that depends on the state, by the last hidden layer
        h = policy.normalise(row)
        for layer in policy.layers[:-1]:
            h = policy.activation(layer(h))
        log_std = log_std + h @ actor["spread.weight"].double().T
    std, mean = half * log_std[:, None].exp(), policy(row)[:, None]
    noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    commands: Tensor = mean + std * noise
    return commands


def _path(field: Field, noise: Tensor, tableau: Tableau, t_grid: Sequence[float]) -> Tensor:
    """Return the states after each step. Shapes (S, 2) -> (K + 1, S, 2)."""
    states = [noise]
    for step in pairwise(t_grid):
        states.append(integrate(field, states[-1], tableau, step))
    return torch.stack(states)


def _field(policy: FlowPolicy, cell: tuple[float, float], rows: int) -> Field:
    return policy.field(policy.normalise(torch.tensor([cell])).expand(rows, 2))


def _lift_limits(policy: FlowPolicy | MlpPolicy) -> None:
    """Remove the limits: commands beyond them show how certain a policy is."""
    policy.low.fill_(-torch.inf)
    policy.high.fill_(torch.inf)


def _require_grid_world(option: str, run: Path, card: RunCard) -> None:
    if card.task != TASK:
        raise _wrong(option, run, card, f"a policy of {TASK}", f"odeploy train ... --task {TASK}")


def _wrong(option: str, run: Path, card: RunCard, expected: str, verb: str) -> ContractError:
    return ContractError(
        where=f"{option} {run}",
        expected=expected,
        got=f"a policy of kind {card.kind} of {card.task}, by {card.method}",
        remedy=f"give the folder of an `{verb}` run",
    )
