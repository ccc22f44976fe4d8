"""`odeploy train gail | airl | wail | vail | drail`: PPO with a learned reward.

Student, rollouts and updates are those of `odeploy train ppo`. `inverse_rl/discriminators.py` and
`inverse_rl/drail.py` have the discriminators, `inverse_rl/learned_reward.py` trains them. The curves show the
environment's own reward; it is not used otherwise.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import tyro

from odeploy_runtime.errors import UsageError
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.inverse_rl.classification import Discriminator, RewardForm
from odeploy_train.inverse_rl.discriminators import Airl, Bottleneck, Gail, Vail, Wail
from odeploy_train.inverse_rl.drail import Drail
from odeploy_train.inverse_rl.learned_reward import RewardOptions, attach, warn_of_one_episode
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.on_policy import run as on_policy
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.run import Learner, run
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs.folder import Method
from odeploy_train.runs.options import require_positive

Sizes = tuple[int, int]
"""O and A."""


@dataclass(frozen=True, kw_only=True)
class Config(RewardOptions, gaussian_ppo.Config, ABC):
    """Options of all five, in addition to those of `odeploy train ppo`."""

    demos: str
    """Dataset folder, or Minari id."""
    discriminator_widths: tuple[int, ...] = (100, 100)
    """Hidden layers of the discriminator, as in GAIL's paper."""
    value_coefficient: float = 0.25
    """Weight of the critic's squared error in the loss; FM-IRL's comparison has 0.5, of half the error."""

    @abstractmethod
    def discriminator(self, sizes: Sizes, actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the method's discriminator with fresh weights.

        Args:
            sizes: O and A.
            actor: actor of the student.
            generator: generator of the initial weights.
        """

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UsageError: names the first one.
        """
        on_policy.check(self)
        require_positive(
            discriminator_lr=self.discriminator_lr, discriminator_batch=self.discriminator_batch,
            discriminator_epochs=self.discriminator_epochs,
            discriminator_widths=min(self.discriminator_widths, default=0),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GailConfig(Config):
    """Train by GAIL (arXiv 1606.03476).

    The same command continues an interrupted run.
    """

    reward: RewardForm = "logit"
    """Form of the reward. `positive`, the paper's -log(1 - D), rewards staying alive: for tasks that end by a
    fall. `negative`, log D, rewards speed. `logit`, as in FM-IRL's comparison, has either sign."""

    def discriminator(self, sizes: Sizes, _actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the discriminator with fresh weights."""
        return Gail(*sizes, self.discriminator_widths, self.reward, generator)


@dataclass(frozen=True, kw_only=True)
class AirlConfig(Config):
    """Train by AIRL (arXiv 1710.11248).

    The same command continues an interrupted run.
    """

    state_only: bool = False
    """Let the reward see the observation alone, so that it transfers to other dynamics."""

    def discriminator(self, sizes: Sizes, actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the discriminator with fresh weights."""
        return Airl(
            *sizes, self.discriminator_widths, self.state_only, self.discount, actor.log_density, generator
        )


@dataclass(frozen=True, kw_only=True)
class WailConfig(Config):
    """Train by WAIL (arXiv 1906.08113).

    The same command continues an interrupted run.
    """

    gradient_penalty: float = 10.0
    """Gradient penalty λ of WGAN-GP."""

    def discriminator(self, sizes: Sizes, _actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the discriminator with fresh weights."""
        return Wail(*sizes, self.discriminator_widths, self.gradient_penalty, generator)

    def check(self) -> None:
        """Refuse options that make no sense. Raises as `Config.check`."""
        super().check()
        require_positive(gradient_penalty=self.gradient_penalty)


@dataclass(frozen=True, kw_only=True)
class VailConfig(Config):
    """Train by VAIL (arXiv 1810.00821).

    The same command continues an interrupted run.
    """

    reward: RewardForm = "logit"
    """Form of the reward; the paper's is `positive`. See `odeploy train gail --help`."""
    code_size: int = 128
    """Size of the code z."""
    information: float = 0.5
    """Information I_c of the code about a tick [nat]."""
    dual_step: float = 1e-5
    """Step size α_β of β, per step of the discriminator."""

    def discriminator(self, sizes: Sizes, _actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the discriminator with fresh weights."""
        bottleneck = Bottleneck(self.code_size, self.information, self.dual_step)
        return Vail(*sizes, self.discriminator_widths, bottleneck, self.reward, generator)

    def check(self) -> None:
        """Refuse options that make no sense. Raises as `Config.check`."""
        super().check()
        require_positive(code_size=self.code_size, information=self.information, dual_step=self.dual_step)


@dataclass(frozen=True, kw_only=True)
class DrailConfig(Config):
    """Train by DRAIL (arXiv 2405.16194).

    The same command continues an interrupted run.
    """

    reward: RewardForm = "logit"
    """Form of the reward; the paper's is `logit`. See `odeploy train gail --help`."""
    discriminator_widths: tuple[int, ...] = (128, 128, 128, 128)
    """Hidden layers of the denoiser, of equal width, SiLU."""
    diffusion_steps: int = 1000
    """Steps of the noise schedule; their number costs nothing, since the discriminator takes single ones."""
    draws: int = 1
    """Draws of step and noise per tick, averaged and shared by both labels."""

    def discriminator(self, sizes: Sizes, _actor: GaussianActor, generator: torch.Generator) -> Discriminator:
        """Make the discriminator with fresh weights."""
        widths = self.discriminator_widths
        return Drail(*sizes, widths[0], len(widths), self.diffusion_steps, self.draws, self.reward, generator)

    def check(self) -> None:
        """Refuse options that make no sense. Raises as `Config.check`."""
        super().check()
        require_positive(diffusion_steps=self.diffusion_steps, draws=self.draws)
        if len(set(self.discriminator_widths)) != 1:
            raise UsageError(
                where="--discriminator-widths",
                expected="one width for all hidden layers of the denoiser",
                got=str(self.discriminator_widths),
                remedy="give equal numbers",
            )


def gail(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    _run("gail", tyro.cli(GailConfig, args=arguments, prog="odeploy train gail"))


def airl(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    _run("airl", tyro.cli(AirlConfig, args=arguments, prog="odeploy train airl"))


def wail(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    _run("wail", tyro.cli(WailConfig, args=arguments, prog="odeploy train wail"))


def vail(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    _run("vail", tyro.cli(VailConfig, args=arguments, prog="odeploy train vail"))


def drail(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    _run("drail", tyro.cli(DrailConfig, args=arguments, prog="odeploy train drail"))


def start(
    config: Config, task: Task, envs: TaskVectorEnv, sizes: MlpConfig, demonstrations: Demonstrations
) -> Learner:
    """Make a learner at step 0, rewarded by a discriminator."""
    learner = gaussian_ppo.start(config, task, envs, sizes)
    actor, generator = learner.ppo.actor, learner.ppo.generator
    assert isinstance(actor, GaussianActor)
    module = config.discriminator((sizes.observation_size, sizes.action_size), actor, generator)
    attach(learner, config, module, demonstrations, task)
    return learner


def _run(method: Method, config: Config) -> None:
    config.check()
    task = resolve(config.task)
    demonstrations = load(config.demos, task)
    warn_of_one_episode(demonstrations)
    sizes = gaussian_ppo.policy_sizes(config, task)
    run(
        method, config, task, sizes, lambda envs: start(config, task, envs, sizes, demonstrations),
        data_hash=demonstrations.data_hash,
    )  # fmt: skip
