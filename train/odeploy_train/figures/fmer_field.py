"""Flow and critics of an FMER policy on multigoal-2d: numbers for `fmer_plots`.

All in the square of unit actions. A noise ε and all points of its path are mapped by the tanh that ends it: the
flow carries tanh ε to the action tanh u.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_sim.environments.multigoal import GOALS_M
from odeploy_train.figures.goal_shares import TASK
from odeploy_train.modules.ode import EULER, integrate, uniform_grid
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.runs.folder import RunCard, load_policy

START = (0.0, 0.0)
"""Place with equal distance to all goals: x, y [m]."""


@dataclass(frozen=True)
class Snapshot:
    """Flow and critics at the start of episodes.

    Attributes:
        card: card of the run.
        paths: tanh of S noises on their paths to actions. Shape (K + 1, S, 2).
        side: coordinates of the critics' grid along each direction, from -1 to 1.
        value: min(Q_1, Q_2) of the grid's actions, by velocity_y, then velocity_x. Shape (side, side).
    """

    card: RunCard
    paths: Tensor
    side: Tensor
    value: Tensor


def load(run: Path) -> tuple[BestOfN, RunCard]:
    """Load the policy of a finished FMER run on multigoal-2d.

    Raises:
        ContractError: another verb or task.
    """
    policy, card = load_policy(run)
    if not isinstance(policy, BestOfN) or card.method != "fmer" or card.task != TASK:
        raise ContractError(
            where=str(run),
            expected=f"a run of fmer on {TASK}",
            got=f"one of {card.method} on {card.task}",
            remedy=f"give the folder of an `odeploy train fmer --task {TASK}` run",
        )
    return policy, card


@torch.no_grad()
def snapshot(run: Path, samples: int, seed: int, side: int = 61) -> Snapshot:
    """Evaluate flow and critics of a finished run, at the start of episodes.

    Args:
        run: folder of a finished FMER run.
        samples: number S of noises.
        seed: seed of the noise.
        side: points of the critics' grid along each direction.
    """
    policy, card = load(run)
    observation = torch.tensor([START])
    noise = _noise(samples, seed)
    field = policy.flow.field(policy.flow.normalise(observation).expand(samples, 2))
    states = [noise]
    for step in pairwise(uniform_grid(card.config["solver_steps"])):
        states.append(integrate(field, states[-1], EULER, step))
    ticks = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    actions = torch.stack([x, y], dim=-1).view(-1, 2)
    value = policy.value(observation.expand(len(actions), 2), actions)
    return Snapshot(card, torch.stack(states).tanh(), ticks, value.view(side, side))


@torch.no_grad()
def samples_at(run: Path, places_m: Tensor, samples: int, seed: int) -> Tensor:
    """Sample actions of the flow at several places, from the same noises.

    Shapes (P, 2) -> (P, S, 2).
    """
    policy, card = load(run)
    P = len(places_m)
    t_grid = uniform_grid(card.config["solver_steps"])
    noise = _noise(samples, seed).repeat(P, 1)
    actions = policy.flow.sample(places_m.repeat_interleave(samples, dim=0), noise, EULER, t_grid)
    return actions.view(P, samples, 2)


def towards(actions: Tensor) -> Tensor:
    """Return the index of the goal in whose direction an action moves most.

    Shapes (..., 2) -> (...).
    """
    directions = torch.from_numpy(GOALS_M / np.linalg.norm(GOALS_M, axis=1, keepdims=True))
    return (actions @ directions.to(actions.dtype).T).argmax(dim=-1)


def _noise(samples: int, seed: int) -> Tensor:
    return torch.randn(samples, 2, generator=torch.Generator().manual_seed(seed))
