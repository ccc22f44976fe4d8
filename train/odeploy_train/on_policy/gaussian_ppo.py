"""`odeploy train ppo`: the Gaussian baseline, an MLP policy trained by PPO."""

from dataclasses import dataclass

import torch
import tyro
from torch import nn

from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.networks import initialise_orthogonal, mlp
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.options import PpoOptions
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.on_policy.run import EnvironmentOptions, Learner, OnPolicyConfig, check, ppo_config, run
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy, limits


@dataclass(frozen=True)
class GaussianOptions(PpoOptions, EnvironmentOptions):
    """Options of a Gaussian policy."""

    entropy: float = 0.0
    """Coefficient of the entropy bonus."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and critic, tanh."""
    log_std: float = -1.0
    """Log standard deviation of the policy's noise at the start."""
    state_dependent_std: bool = False
    """Let the standard deviation depend on the state, by a second output of the policy's last hidden layer."""


@dataclass(frozen=True)
class Config(OnPolicyConfig, GaussianOptions):
    """Train a Gaussian MLP policy by PPO.

    The same command continues an interrupted run.
    """


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train ppo")
    check(config)
    task = resolve(config.task)
    sizes = policy_sizes(config, task)
    run("ppo", config, task, sizes, lambda envs: start(config, task, envs, sizes))


def policy_sizes(config: Config, task: Task) -> MlpConfig:
    """Return the sizes of the deployed policy."""
    return MlpConfig(len(task.observation), len(task.action), config.widths, clip=OBSERVATION_CLIP)


def start(config: Config, task: Task, envs: TaskVectorEnv, sizes: MlpConfig) -> Learner:
    """Make a learner at step 0."""
    generator = torch.Generator().manual_seed(config.seed)
    actor = GaussianActor(
        sizes.observation_size, sizes.action_size, config.widths, config.log_std, config.entropy,
        config.state_dependent_std,
    )  # fmt: skip
    critic = mlp((sizes.observation_size, *config.widths, 1), nn.Tanh)
    initialise_orthogonal(actor.mean, 0.01, generator)
    initialise_orthogonal(critic, 1.0, generator)
    ppo = Ppo(ppo_config(config), actor, critic, envs, generator)
    return Learner(ppo, lambda: deployed(ppo, actor, task, sizes), nn.ModuleDict())


def deployed(ppo: Ppo, actor: GaussianActor, task: Task, sizes: MlpConfig) -> MlpPolicy:
    """Return the policy's mean with its normaliser, in robot units, without noise."""
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
