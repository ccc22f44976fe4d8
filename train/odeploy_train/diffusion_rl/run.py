"""The run of a diffusion policy on the off-policy core.

Shared by `odeploy train qvpo | dipo | dpmd`. Scores use one raw sample with normal noise at every tick, with all T
steps of the sampler. A policy file returns the same unless `odeploy export --candidates N` selects the best of
several: the critics are in the checkpoint (`policies/best_of_diffusion.py`). The authors of QVPO and DPMD score
the best of 32, which scores higher.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from odeploy_runtime.signals import highs, lows
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.diffusion_rl.actor import DiffusionActor
from odeploy_train.modules.ddpm import Schedule, ScheduleName, schedule
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.off_policy import run as off_policy_run
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.run import Learner
from odeploy_train.policies.diffusion import DiffusionConfig, DiffusionPolicy
from odeploy_train.runs.folder import Method
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True)
class Config(off_policy_run.Config):
    """Options of all three."""

    diffusion_steps: int = 20
    """Steps T of noise and sampler; `odeploy export` may choose fewer."""
    schedule: ScheduleName = "cosine"
    """Noise schedule."""
    actor_lr: float = 3e-4
    """Learning rate of the denoiser, constant; `--lr` is the critics'."""
    gradient_norm: float = 2.0
    """Largest norm of the denoiser's gradient."""
    width: int = 256
    """Neurons per hidden layer of the denoiser."""
    depth: int = 3
    """Hidden layers of the denoiser, SiLU."""


C = TypeVar("C", bound=Config)
MakeActor = Callable[[C, VelocityNet, Schedule], DiffusionActor]
"""(options, denoiser with its first weights, levels of noise) -> a method's actor."""


def run(method: Method, config: C, make_actor: MakeActor[C]) -> None:
    """Train, or continue, and print the run folder.

    Args:
        method: name of the verb.
        config: its options.
        make_actor: makes the method's actor.

    Raises:
        UsageError: an option that makes no sense.
    """
    require_positive(
        diffusion_steps=config.diffusion_steps, actor_lr=config.actor_lr, gradient_norm=config.gradient_norm,
        width=config.width, depth=config.depth,
    )  # fmt: skip
    task = resolve(config.task)
    sizes = policy_sizes(config, task)
    off_policy_run.run(method, config, task, sizes, partial(start, config, sizes, make_actor))


def policy_sizes(config: Config, task: Task) -> DiffusionConfig:
    """Return the sizes of the deployed policy."""
    return DiffusionConfig(
        len(task.observation), len(task.action), config.width, config.depth, schedule=config.schedule,
        steps=config.diffusion_steps, observation_clip=OBSERVATION_CLIP,
    )  # fmt: skip


def start(
    config: C, sizes: DiffusionConfig, make_actor: MakeActor[C], core_config: OffPolicyConfig, envs: TaskVectorEnv
) -> Learner:
    """Make a learner at step 0."""
    generator = torch.Generator().manual_seed(config.seed)
    O, A = sizes.observation_size, sizes.action_size  # noqa: E741
    denoiser = VelocityNet(O, A, sizes.width, sizes.depth, sizes.time_features)
    initialise(denoiser, generator)  # before there is a slow copy of it
    actor = make_actor(config, denoiser, schedule(sizes.schedule, sizes.steps))
    critics = TwinCritics(O, A, config.critic_widths, config.critic_norm)
    initialise(critics, generator)
    core = OffPolicy(core_config, actor, critics, envs, generator)
    return Learner(core, lambda: deployed(core, actor, envs.task, sizes))


class Scored(DiffusionPolicy):
    """Diffusion policy with its own noise, the same for each score, as scored."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__(config)
        self._t_grid = self.levels.t_grid(config.steps)
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def forward(self, observation: Tensor) -> Tensor:
        """Return actions in robot units, given raw observations. Shapes (B, O) -> (B, A)."""
        shape = len(observation), self.config.steps, self.config.action_size
        noise = torch.randn(shape, generator=self._generator)
        return self.sample(observation.to(noise.dtype), noise, self._t_grid)


def deployed(core: OffPolicy, actor: DiffusionActor, task: Task, sizes: DiffusionConfig) -> Scored:
    """Return the policy of this moment, with normaliser and limits."""
    policy = Scored(sizes)
    policy.denoiser.load_state_dict(actor.deployed.state_dict())
    policy.observation_mean = core.moments.mean.float()
    policy.observation_std = core.moments.std(STD_FLOOR).float()
    policy.low, policy.high = torch.from_numpy(lows(task.action)), torch.from_numpy(highs(task.action))
    policy.action_mean, policy.action_std = (policy.high + policy.low) / 2, (policy.high - policy.low) / 2
    return policy
