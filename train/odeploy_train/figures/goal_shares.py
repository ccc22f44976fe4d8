"""Shares of multigoal-2d's four goals among episodes of raw samples.

The goals are equally good, so a policy that keeps its modes goes to all of them. A goal counts as kept if at least
a tenth of all episodes end there, including those that reach no goal. Evenly shared it would be a quarter.

Starts lie about the middle, so a policy with one way in each state can keep all goals. Whether it has several in
one state is measured in the middle itself, (0, 0): the directions of 500 samples there.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get
from odeploy_sim.environments.multigoal import GOALS_M, goal_at
from odeploy_sim.tasks.episodes import valid
from odeploy_sim.tasks.task import Task
from odeploy_train.figures.raw_samples import one_sample
from odeploy_train.runs.folder import RunCard
from odeploy_train.runs.learning_curve import train_s
from odeploy_train.runs.rollouts import Act, Rollouts, answer

TASK = "multigoal-2d"
GOALS = ("east", "north", "west", "south")
"""Names of `GOALS_M`, in its order."""
KEPT = 0.1
"""Share of episodes from which a goal counts as kept."""
MIDDLE_SAMPLES = 500
_STILL = 0.1  # samples of a shorter unit action have no direction
_MAY_DIFFER = ("seed",)  # among the options of runs in one row


@dataclass(frozen=True)
class Ways:
    """Episodes of one policy.

    Attributes:
        card: card of its run.
        positions: x and y from the start to the end of each episode [m]. Shapes (T_i + 1, 2).
        goals: index of the goal where each ended, -1 for none. Shape (E,).
        train_s: duration of the learning.
        directions: share of the samples in the middle that head for each goal. Shape (4,).
        invalid: number of episodes in which the simulation broke; others replace them.
    """

    card: RunCard
    positions: list[NDArray[np.float32]]
    goals: NDArray[np.int64]
    train_s: float
    directions: NDArray[np.float64]
    invalid: int = 0

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of the episodes that end at each goal. Shape (4,)."""
        return np.bincount(self.goals[self.goals >= 0], minlength=len(GOALS)) / len(self.goals)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each goal counts as kept. Shape (4,)."""
        kept: NDArray[np.bool_] = self.shares >= KEPT
        return kept

    @property
    def ways(self) -> int:
        """Number of directions that a tenth of the samples in the middle have."""
        return int((self.directions >= KEPT).sum())

    def line(self, method: str) -> dict[str, Any]:
        """Return the line of a results file, without this machine's paths."""
        return {
            "method": method,
            "verb": self.card.method,
            "task": TASK,
            "version": self.card.version,
            "seed": self.card.seed,
            "steps": self.card.steps,
            "episodes": len(self.goals),
            "invalid": self.invalid,
            "shares": dict(zip(GOALS, self.shares.tolist(), strict=True)),
            "nowhere": float((self.goals < 0).mean()),
            "kept": int(self.kept.sum()),
            "directions": dict(zip(GOALS, self.directions.tolist(), strict=True)),
            "ways": self.ways,
            "ticks": float(np.mean([len(way) - 1 for way in self.positions])),
            "train_s": round(self.train_s, 1),
            "options": self.card.config,
            "git": self.card.git,
        }


def ways_of(run: Path, episodes: int, seed: int) -> Ways:
    """Play episodes of a trained policy.

    Args:
        run: folder of a finished run of `odeploy train fmer | sac | qvpo | dipo | dpmd` on multigoal-2d.
        episodes: number of episodes, E.
        seed: seed of the starts and of the policy's noise.

    Raises:
        ContractError: another task or method; a hundred episodes in a row broke.
    """
    act, card = one_sample(run, seed)
    if card.task != TASK:
        raise ContractError(
            where=str(run),
            expected=f"a policy of {TASK}",
            got=f"one of {card.task}",
            remedy=f"give the folder of an `odeploy train ... --task {TASK}` run",
        )
    positions, invalid = play(get(TASK), act, episodes, seed)
    goals = np.array([goal_at(way[-1].astype(np.float64)) for way in positions])
    return Ways(card, positions, goals, train_s(run), directions(act), invalid)


def directions(act: Act) -> NDArray[np.float64]:
    """Return the share of samples in the middle that head for each goal.

    A sample heads for the goal with the smallest angle to it. Shape (4,).
    """
    actions = act(torch.zeros(MIDDLE_SAMPLES, 2)).numpy().astype(np.float64)
    heading = (actions @ GOALS_M.T).argmax(axis=1)[np.linalg.norm(actions, axis=1) >= _STILL]
    return np.bincount(heading, minlength=len(GOALS)) / MIDDLE_SAMPLES


def play(task: Task, act: Act, episodes: int, seed: int) -> tuple[list[NDArray[np.float32]], int]:
    """Play the first valid episodes of a seed, all in parallel.

    Returns:
        Observations from the first to the last of each, of shapes (T_i + 1, O), and how many others broke.
    """
    with closing(Rollouts(task, parallel=episodes)) as rollouts:
        trajectories, invalid = valid(rollouts.trajectories(lambda running: answer(act, running), seed, episodes))
    return [trajectory.observations for trajectory in trajectories], invalid


def by_method(measured: Sequence[Ways]) -> dict[str, list[Ways]]:
    """Group runs of one method and the same options under one name, by seed.

    The name has the options that differ.
    """
    of_verb: dict[str, list[Ways]] = defaultdict(list)
    for ways in measured:
        of_verb[ways.card.method].append(ways)
    named: dict[str, list[Ways]] = defaultdict(list)
    for verb, runs in of_verb.items():
        differing = _differing([ways.card.config for ways in runs])
        for ways in runs:
            options = [f"{option.replace('_', ' ')} {ways.card.config.get(option)}" for option in differing]
            named[", ".join([verb.upper(), *options])].append(ways)
    return {name: sorted(runs, key=lambda ways: ways.card.seed) for name, runs in named.items()}


def _differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for config in configs for name in config if name not in _MAY_DIFFER)
    return [name for name in names if any(c.get(name) != configs[0].get(name) for c in configs)]
