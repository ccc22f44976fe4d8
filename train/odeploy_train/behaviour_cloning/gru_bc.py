"""`odeploy train gru-bc`: behaviour cloning of a recurrent policy.

    L = E_{episodes, t} ‖ π(s_t, h_t) - a_t ‖² / A,    h_{t+1} from (s_t, h_t), in unit scale

A gradient step advances `lanes` episodes in parallel by some ticks. The state passes from step to step, from zeros
at an episode's first tick to its last. The gradient passes back through the ticks of one step only: truncated
backpropagation through time. When the episode of a lane is over, the lane begins another one.

Measured on maze-medium, 100 demonstrations with action noise 0.5, seed 0: success 0.74 over 50 lockstep episodes,
where the MLP of `train bc` had 0.84; 57 s on one core, including these episodes.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.behaviour_cloning.loop import Cloning, State, run
from odeploy_train.policies.recurrent import Player, RecurrentConfig, RecurrentPolicy
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.rollouts import Episodes, Rollouts, fresh_seed


@dataclass(frozen=True)
class Config:
    """Train a GRU on demonstrations. The same command continues an interrupted run."""

    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    demos: str
    """Dataset folder, or Minari id."""
    out: Path
    """Run folder: new, or of an interrupted run."""
    steps: int = 6_000
    """Gradient steps."""
    lanes: int = 32
    """Episodes in parallel."""
    ticks: int = 16
    """Ticks of each lane per gradient step: the length of backpropagation."""
    lr: float = 3e-3
    """Peak learning rate; falls to 0 along half a cosine."""
    state_size: int = 128
    """Size S of the policy's state."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int = 1
    """Threads of torch."""
    score_episodes: int = 20
    """Episodes of a first score at the end; 0 for none."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder and a score."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train gru-bc")
    require_positive(
        steps=config.steps, lanes=config.lanes, ticks=config.ticks, lr=config.lr,
        state_size=config.state_size, threads=config.threads,
    )  # fmt: skip
    task = resolve(config.task)
    demonstrations = load(config.demos, task)
    sizes = RecurrentConfig(len(task.observation), len(task.action), config.state_size)

    def training() -> Cloning:
        policy, state = start(config, sizes, task, demonstrations)
        return Cloning(
            config,
            state,
            lambda: Regression(config, policy, state, demonstrations).loss,
            lambda episodes: score(policy, state.generator, task, episodes),
        )

    run("gru-bc", config, task, sizes, training, demonstrations)


def start(
    config: Config, sizes: RecurrentConfig, task: Task, demonstrations: Demonstrations
) -> tuple[RecurrentPolicy, State]:
    """Make an untrained policy with normaliser and bounds, and its training state."""
    generator = torch.Generator().manual_seed(config.seed)
    policy = RecurrentPolicy(sizes)
    policy.initialise(generator)
    policy.fit(torch.from_numpy(demonstrations.observations), task.action)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, fused=True)
    return policy, State(policy, optimizer, generator)


class Regression:
    """The objective. The position of each lane is stored in `state.gathered`.

    For each lane: `episode` and `tick`, both of shape (lanes,), and `memory`, the state before that tick, of shape
    (lanes, S). So it is in the checkpoint.
    """

    def __init__(
        self, config: Config, policy: RecurrentPolicy, state: State, demonstrations: Demonstrations
    ) -> None:
        self._ticks, self._policy, self._state = config.ticks, policy, state
        self._starts = torch.from_numpy(demonstrations.starts)
        self._lengths = torch.from_numpy(demonstrations.lengths)
        self._observations = torch.from_numpy(demonstrations.observations)
        self._targets = policy.to_unit(torch.from_numpy(demonstrations.actions))
        if not state.gathered:
            episode = self._drawn(config.lanes)
            state.gathered = {
                "episode": episode,
                "tick": torch.zeros_like(episode),
                "memory": policy.first_state(config.lanes),
            }

    def loss(self) -> Tensor:
        """Return the loss of the next ticks of every lane, and advance the lanes."""
        lanes = self._state.gathered
        length = self._lengths[lanes["episode"]][:, None]
        tick = lanes["tick"][:, None] + torch.arange(self._ticks)
        rows = self._starts[lanes["episode"]][:, None] + torch.minimum(tick, length - 1)
        answer, states = self._policy.unroll(self._observations[rows], lanes["memory"])
        error = (answer - self._targets[rows])[tick < length]  # ticks beyond an episode's end do not count
        self._move_on(states[:, -1].detach())
        return error.square().mean()

    def _move_on(self, memory: Tensor) -> None:
        lanes = self._state.gathered
        episode, tick = lanes["episode"], lanes["tick"] + self._ticks
        over = tick >= self._lengths[episode]
        self._state.gathered = {
            "episode": torch.where(over, self._drawn(len(over)), episode),
            "tick": torch.where(over, 0, tick),
            "memory": torch.where(over[:, None], self._policy.first_state(len(over)), memory),
        }

    def _drawn(self, lanes: int) -> Tensor:
        return torch.randint(len(self._starts), (lanes,), generator=self._state.generator)


def score(policy: RecurrentPolicy, generator: torch.Generator, task: Task, episodes: int) -> str:
    """Play episodes and return one line."""
    with closing(Rollouts(task, parallel=1)) as rollouts:
        return play(policy, rollouts, generator, episodes).score(task)


def play(policy: RecurrentPolicy, rollouts: Rollouts, generator: torch.Generator, episodes: int) -> Episodes:
    """Play episodes one after the other, each from a zero state."""
    played = [rollouts.play_with_state(lambda: Player(policy), fresh_seed(generator), 1) for _ in range(episodes)]
    return Episodes(
        torch.cat([p.observations for p in played]),
        np.concatenate([p.returns for p in played]),
        np.concatenate([p.successes for p in played]),
        sum(p.invalid for p in played),
    )
