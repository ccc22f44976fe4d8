"""`odeploy train bc`: behaviour cloning, FM-IRL's baseline (arXiv 2510.09222).

    L = E_{(s, a)} ‖ π(s) - a ‖² / A,    in unit scale: half of each action's range is 1

An MLP learns the mean of the demonstrated actions; where experts take two ways, it goes between them. tanh maps
its output to the limits. Sizes and learning rate are ours. With `--horizon H` it outputs a chunk, H demonstrated
actions in sequence (behaviour_cloning/action_chunks.py).

Measured on maze-medium, 100 demonstrations with action noise 0.5, seed 0: success 0.84 over 50 lockstep episodes;
49 s on one core, including these episodes.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor

from odeploy_runtime.signals import highs, lows
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.behaviour_cloning.action_chunks import chunks
from odeploy_train.behaviour_cloning.loop import Cloning, State, run
from odeploy_train.modules.networks import initialise
from odeploy_train.modules.running_moments import moments
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.rollouts import Rollouts, fresh_seed


@dataclass(frozen=True)
class Config:
    """Train an MLP on demonstrations. The same command continues an interrupted run."""

    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    demos: str
    """Dataset folder, or Minari id."""
    out: Path
    """Run folder: new, or of an interrupted run."""
    steps: int = 12_000
    """Gradient steps."""
    batch: int = 256
    """Rows per gradient step."""
    lr: float = 1e-3
    """Peak learning rate; falls to 0 along half a cosine."""
    widths: tuple[int, ...] = (256, 256)
    """Neurons of the hidden layers."""
    activation: Literal["Tanh", "ReLU"] = "Tanh"
    """Activation between layers."""
    horizon: int = 1
    """Actions H per observation: the length of a chunk. Beyond the end of an episode its last action is
    repeated."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int = 1
    """Threads of torch."""
    score_episodes: int = 20
    """Episodes of a first score at the end, with the first action of each chunk; 0 for none."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder and a score."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train bc")
    require_positive(
        steps=config.steps, batch=config.batch, lr=config.lr, widths=min(config.widths, default=0),
        horizon=config.horizon, threads=config.threads,
    )  # fmt: skip
    task = resolve(config.task)
    demonstrations = load(config.demos, task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    sizes = MlpConfig(O, A, config.widths, config.activation, squash=True, horizon=config.horizon)

    def training() -> Cloning:
        policy, state = start(config, sizes, task, demonstrations)
        return Cloning(
            config,
            state,
            lambda: objective(config, policy, state, demonstrations),
            lambda episodes: score(policy, state.generator, task, episodes),
        )

    run("bc", config, task, sizes, training, demonstrations)


def start(config: Config, sizes: MlpConfig, task: Task, demonstrations: Demonstrations) -> tuple[MlpPolicy, State]:
    """Make an untrained policy with normaliser and limits, and its training state."""
    generator = torch.Generator().manual_seed(config.seed)
    policy = MlpPolicy(sizes).float()
    initialise(policy, generator)
    policy.observation_mean, policy.observation_std = moments(torch.from_numpy(demonstrations.observations))
    chunk = task.action * sizes.horizon
    policy.low, policy.high = torch.from_numpy(lows(chunk)), torch.from_numpy(highs(chunk))
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, fused=True)
    return policy, State(policy, optimizer, generator)


def objective(
    config: Config, policy: MlpPolicy, state: State, demonstrations: Demonstrations
) -> Callable[[], Tensor]:
    """Return a function that computes the squared error of a fresh minibatch."""
    observations = torch.from_numpy(demonstrations.observations)
    actions = chunks(demonstrations, policy.config.horizon)
    half_range = (policy.high - policy.low) / 2

    def loss() -> Tensor:
        rows = torch.randint(len(actions), (config.batch,), generator=state.generator)
        error: Tensor = (policy(observations[rows]) - actions[rows]) / half_range
        return error.square().mean()

    return loss


def score(policy: MlpPolicy, generator: torch.Generator, task: Task, episodes: int) -> str:
    """Play episodes and return one line; only the first action of a chunk is played."""
    A = len(task.action)
    with closing(Rollouts(task)) as rollouts:
        played = rollouts.play(lambda observation: policy(observation)[:, :A], fresh_seed(generator), episodes)
    return played.score(task)
