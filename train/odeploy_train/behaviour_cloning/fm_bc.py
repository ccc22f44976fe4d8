"""`odeploy train fm-bc`: flow-matching behaviour cloning, the usual teacher.

FP of FM-IRL (arXiv 2510.09222): a velocity field over the action, given the observation, regressed on the straight
path from noise to the demonstrated action. Ours runs from t = 0 (noise) to t = 1 (action). FP holds the
observation inside the flow's state instead, which is equivalent. Width, steps and learning rate are ours. With
`--horizon H` the action is a chunk: H demonstrated actions in sequence (behaviour_cloning/action_chunks.py).

    L = E_{t, x_0, (s, a)} ‖ v(s, (1 - t) x_0 + t a, t) - (a - x_0) ‖² / A

Measured on maze-medium, 300 demonstrations with action noise 0.5, seeds 0, 1, 2: success 0.995, 0.990, 0.990 over
200 lockstep episodes with Euler, 10 steps and normal noise, 61 to 67 s on one core each.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.behaviour_cloning.action_chunks import chunks
from odeploy_train.behaviour_cloning.loop import Cloning, State, run
from odeploy_train.modules.flow_matching import flow_matching_loss
from odeploy_train.modules.networks import initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.rollouts import Rollouts, fresh_seed


@dataclass(frozen=True)
class Config:
    """Train a flow-matching policy on demonstrations.

    The same command continues an interrupted run.
    """

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
    lr: float = 3e-3
    """Peak learning rate; falls to 0 along half a cosine."""
    width: int = 256
    """Neurons per hidden layer."""
    depth: int = 3
    """Hidden layers."""
    horizon: int = 1
    """Actions H per observation: the length of a chunk. Beyond the end of an episode its last action is
    repeated."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int = 1
    """Threads of torch. With 2 a step is faster on two idle cores (2.8 ms, not 4.2), but far slower beside a busy
    process (27 ms, not 4.5): the threads spin at every barrier."""
    score_episodes: int = 20
    """Episodes of a first score at the end, with Euler, 10 steps, normal noise and the first action of each chunk;
    0 for none."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder and a score."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fm-bc")
    require_positive(
        steps=config.steps, batch=config.batch, lr=config.lr, width=config.width, depth=config.depth,
        horizon=config.horizon, threads=config.threads,
    )  # fmt: skip
    task = resolve(config.task)
    demonstrations = load(config.demos, task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    sizes = FlowConfig(O, A, config.width, config.depth, horizon=config.horizon)

    def training() -> Cloning:
        policy, state = start(config, sizes, task, demonstrations)
        return Cloning(
            config,
            state,
            lambda: objective(config, policy, state, demonstrations),
            lambda episodes: score(policy, state.generator, task, episodes),
        )

    run("fm-bc", config, task, sizes, training, demonstrations)


def start(
    config: Config, sizes: FlowConfig, task: Task, demonstrations: Demonstrations
) -> tuple[FlowPolicy, State]:
    """Make an untrained policy with normalisers and bounds, and its training state."""
    generator = torch.Generator().manual_seed(config.seed)
    policy = FlowPolicy(sizes)
    initialise(policy.velocity, generator)
    observations = torch.from_numpy(demonstrations.observations)
    policy.fit(observations, chunks(demonstrations, sizes.horizon), task.action)
    optimizer = torch.optim.Adam(policy.velocity.parameters(), lr=config.lr, fused=True)
    return policy, State(policy, optimizer, generator)


def objective(
    config: Config, policy: FlowPolicy, state: State, demonstrations: Demonstrations
) -> Callable[[], Tensor]:
    """Return a function that computes the flow-matching loss of a fresh minibatch."""
    observations = policy.normalise(torch.from_numpy(demonstrations.observations))
    actions = policy.normalise_action(chunks(demonstrations, policy.config.horizon))

    def loss() -> Tensor:
        rows = torch.randint(len(actions), (config.batch,), generator=state.generator)
        return flow_matching_loss(policy.velocity, observations[rows], actions[rows], state.generator)

    return loss


def score(policy: FlowPolicy, generator: torch.Generator, task: Task, episodes: int) -> str:
    """Play episodes with Euler, 10 steps and normal noise, and return one line.

    Only the first action of a chunk is played.
    """
    t_grid, size = uniform_grid(10), policy.config.chunk_size

    def act(observation: Tensor) -> Tensor:
        noise = torch.randn(len(observation), size, generator=generator)
        return policy.sample(observation, noise, EULER, t_grid)[:, : len(task.action)]

    with closing(Rollouts(task)) as rollouts:
        return rollouts.play(act, fresh_seed(generator), episodes).score(task)
