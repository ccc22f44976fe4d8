"""`odeploy train sac`: soft actor-critic (Haarnoja et al., arXiv 1812.05905).

    a = tanh(μ(s) + σ(s) ε),    log π(a|s) = log N(u; μ, σ) - Σ_j log(1 - tanh² u_j)
    V̄(s) = min(Q̄_1, Q̄_2)(s, a) - α log π(a|s)
    L_π = E[ α log π(a|s) - min(Q_1, Q_2)(s, a) ],    L_α = -log α (log π(a|s) + H)

The Gaussian baseline of off-policy methods. Losses, bounds of log σ and the loss of log α, rather than of α, are
stable-baselines3's, against which they are tested. The mean is deployed.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import tyro
from torch import Tensor, nn

from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.networks import initialise, mlp
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.modules.squash import log_slope
from odeploy_train.off_policy import run as off_policy_run
from odeploy_train.off_policy.core import Actor, OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.off_policy.run import Learner, run
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy, limits
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_positive

LOG_STD_LOW, LOG_STD_HIGH = -20.0, 2.0
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Config(off_policy_run.Config):
    """Train a Gaussian MLP policy by SAC.

    The same command continues an interrupted run.
    """

    target_entropy: float = -1.0
    """Target entropy H of the squashed action per dimension [nat]."""
    alpha: float = 1.0
    """Entropy coefficient α at the start."""
    alpha_lr: float | None = None
    """Learning rate of log α; default: `--lr`."""
    widths: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy, ReLU."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train sac")
    require_positive(alpha=config.alpha)
    if config.alpha_lr is not None:
        require_positive(alpha_lr=config.alpha_lr)
    task = resolve(config.task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    sizes = MlpConfig(O, A, config.widths, "ReLU", clip=OBSERVATION_CLIP, squash=True)
    run("sac", config, task, sizes, partial(start, config, sizes))


def start(config: Config, sizes: MlpConfig, core_config: OffPolicyConfig, envs: TaskVectorEnv) -> Learner:
    """Make a learner at step 0."""
    generator = torch.Generator().manual_seed(config.seed)
    O, A = sizes.observation_size, sizes.action_size  # noqa: E741
    target = config.target_entropy * A
    alpha_lr = config.lr if config.alpha_lr is None else config.alpha_lr
    actor = SacActor(O, A, config.widths, target, config.lr, config.alpha, alpha_lr)
    critics = TwinCritics(O, A, config.critic_widths, config.critic_norm)
    initialise(actor, generator)
    initialise(critics, generator)
    core = OffPolicy(core_config, actor, critics, envs, generator)
    return Learner(core, lambda: deployed(core, actor, envs.task, sizes))


class SacActor(Actor):
    """Squashed Gaussian; one network outputs mean and log σ.

    Args:
        observation_size: O.
        action_size: D.
        widths: neurons of the hidden layers.
        target_entropy: H [nat].
        lr: learning rate of the network.
        alpha: α at the start.
        alpha_lr: learning rate of log α.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...],
        target_entropy: float,
        lr: float = 3e-4,
        alpha: float = 1.0,
        alpha_lr: float = 3e-4,
    ) -> None:
        super().__init__()
        self.net = mlp((observation_size, *widths, 2 * action_size), nn.ReLU)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha)))
        self.target_entropy, self.noise_shape = target_entropy, (action_size,)
        self.optimizers = {
            "policy": torch.optim.Adam(self.net.parameters(), lr=lr, fused=True),
            "alpha": torch.optim.Adam([self.log_alpha], lr=alpha_lr),
        }

    def draw(self, observation: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample an action per state, with its log π, differentiable.

        Shapes (B, O) -> (B, D), (B,).
        """
        return self.sample(observation, torch.randn((len(observation), *self.noise_shape), generator=generator))

    def sample(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action of each state's noise, with its log π, differentiable.

        Shapes (B, O), (B, D) -> (B, D), (B,).
        """
        mean, log_std = self.net(observation).chunk(2, dim=-1)
        log_std = log_std.clamp(LOG_STD_LOW, LOG_STD_HIGH)
        u = mean + log_std.exp() * noise
        log_density = -(0.5 * noise.square() + log_std + _HALF_LOG_2PI).sum(-1)
        return u.tanh(), log_density - log_slope(u)

    @torch.no_grad()
    def act(self, observation: Tensor, _critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return the action of the given noise. Shapes (E, O), (E, D) -> (E, D)."""
        return self.sample(observation, noise)[0]

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) - α log π of a sample: soft. Shapes (B, O) -> (B,)."""
        action, log_density = self.draw(observation, generator)
        return targets.smaller(observation, action) - self.log_alpha.exp() * log_density

    def losses(
        self, rows: Transitions, critics: TwinCritics, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return L_π, L_α, and the entropy, the mean of -log π."""
        action, log_density = self.draw(rows.observation, generator)
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_density - critics.smaller(rows.observation, action)).mean()
        entropy = -log_density.detach().mean()
        return loss, self.log_alpha * (entropy - self.target_entropy), entropy

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Take one step of the network on L_π, and one of α on L_α."""
        loss, alpha_loss, entropy = self.losses(rows, critics, generator)
        for name, each in (("policy", loss), ("alpha", alpha_loss)):
            self.optimizers[name].zero_grad()
            each.backward()  # type: ignore[no-untyped-call]
            self.optimizers[name].step()
        return {"actor_loss": loss.detach(), "entropy": entropy, "alpha": self.log_alpha.detach().exp()}


def deployed(core: OffPolicy, actor: SacActor, task: Task, sizes: MlpConfig) -> MlpPolicy:
    """Return the policy's mean with its normaliser and limits."""
    policy = MlpPolicy(sizes)
    layers = [layer for layer in actor.net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for mine, its in zip(policy.layers, layers, strict=True):
            assert isinstance(mine, nn.Linear)
            mine.weight.copy_(its.weight[: len(mine.weight)])  # the last layer's half of the mean
            mine.bias.copy_(its.bias[: len(mine.bias)])
    policy.low, policy.high = limits(task.action)
    policy.observation_mean = core.moments.mean.clone()
    policy.observation_std = core.moments.std(STD_FLOOR)
    return policy
