"""`odeploy train ppo`: the Gaussian baseline, an MLP policy trained by PPO on the environment's own reward."""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from torch import nn

from odeploy_sim.catalogue import get
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import Backend, make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.networks import initialise_orthogonal, mlp
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.on_policy.run import Learner, ppo_config, require_core, train
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy, limits
from odeploy_train.runs.best_policy import Keep
from odeploy_train.runs.device import Device
from odeploy_train.runs.folder import begin, new_card
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True)
class Config:
    """Trains a Gaussian MLP policy by PPO. The same command continues an interrupted run."""

    task: str
    """Name of a catalogued task."""
    out: Path
    """Folder of the run: new, or that of an interrupted one."""
    steps: int = 1_000_000
    """Of the environments, together."""
    envs: int = 8
    """Simulations stepped as one."""
    ticks: int = 512
    """Of each environment in a rollout."""
    epochs: int = 10
    """Passes over a rollout."""
    batch: int = 256
    """Rows of a minibatch."""
    lr: float = 3e-4
    """Learning rate at the start; it falls to 0 linearly."""
    discount: float = 0.99
    """γ."""
    trace_decay: float = 0.95
    """λ of the advantage estimate."""
    clip: float = 0.2
    """ε of the ratio."""
    kl_limit: float = math.inf
    """Passes over a rollout end with the one whose estimate of KL(old ‖ new) is above it."""
    entropy: float = 0.0
    """Coefficient of the entropy bonus."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and critic, tanh."""
    log_std: float = -1.0
    """Of the policy's noise at the start."""
    seed: int = 0
    """Of every random number."""
    workers: int | None = None
    """Processes that step the environments; one a core if not given."""
    backend: Backend = "gymnasium"
    """What steps them; `envpool`, an extra, is faster on the four tasks that it has."""
    threads: int = 1
    """Of torch."""
    device: Device = "auto"
    """Of torch, where minibatches are learnt from; a GPU where there is one. Rollouts are collected on the CPU."""
    compile: bool = False
    """Whether `torch.compile` makes the loss: pays in long runs of small minibatches, after most of a minute."""
    score_every: int = 100_000
    """Environment steps between two scores of the deterministic policy, and between checkpoints."""
    score_episodes: int = 10
    """Of a score; 0 for none."""
    keep: Keep = "last"
    """Which policy is deployed: the last, or the best of those scored."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy train ppo"), Console()
    require_positive(
        steps=config.steps, envs=config.envs, ticks=config.ticks, epochs=config.epochs, batch=config.batch,
        lr=config.lr, threads=config.threads, score_every=config.score_every,
    )  # fmt: skip
    require_core(config)
    torch.set_num_threads(config.threads)
    task = get(config.task)
    sizes = MlpConfig(len(task.observation), len(task.action), config.widths, clip=OBSERVATION_CLIP)
    begin(config.out, new_card("ppo", task.name, None, config, sizes))
    with closing(
        make_vector(task, config.envs, config.seed, workers=config.workers, backend=config.backend)
    ) as envs:
        learner = start(config, task, envs, sizes)
        learner.resume(config)
        if learner.ppo.steps >= config.steps:
            console.print(f"finished already, at step {learner.ppo.steps}")
        else:
            train(config, learner, task, console)
    console.print(f"run: {config.out}", soft_wrap=True)


def start(config: Config, task: Task, envs: TaskVectorEnv, sizes: MlpConfig) -> Learner:
    """A learner that has seen nothing yet."""
    generator = torch.Generator().manual_seed(config.seed)
    actor = GaussianActor(sizes.observation_size, sizes.action_size, config.widths, config.log_std, config.entropy)
    critic = mlp((sizes.observation_size, *config.widths, 1), nn.Tanh)
    initialise_orthogonal(actor.mean, 0.01, generator)
    initialise_orthogonal(critic, 1.0, generator)
    ppo = Ppo(ppo_config(config), actor, critic, envs, generator)
    return Learner(ppo, lambda: deployed(ppo, actor, task, sizes), nn.ModuleDict())


def deployed(ppo: Ppo, actor: GaussianActor, task: Task, sizes: MlpConfig) -> MlpPolicy:
    """The mean of the policy with its normaliser; the last layer speaks robot units."""
    policy = MlpPolicy(sizes)
    layers = [layer for layer in actor.mean if isinstance(layer, nn.Linear)]
    for mine, its in zip(policy.layers, layers, strict=True):
        mine.load_state_dict(its.state_dict())
    policy.low, policy.high = limits(task.action)
    half, middle = (policy.high - policy.low) / 2, (policy.high + policy.low) / 2
    last = policy.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.mul_(half).add_(middle)
        last.weight.mul_(half[:, None])
    policy.observation_mean = ppo.moments.mean.clone()
    policy.observation_std = ppo.moments.std(STD_FLOOR)
    return policy
