"""PPO of a flow: deployment, moving average of weights, start from a teacher.

An actor in rollouts and a deployed `FlowPolicy` differ in two ways. The actor outputs unit actions and scales its
network's output. The policy outputs robot units and has that scale in its last layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from odeploy_runtime.signals import highs, lows
from odeploy_sim.tasks.task import Task
from odeploy_train.flow_rl.actor import FlowActor
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.ode import Tableau
from odeploy_train.modules.running_moments import STD_FLOOR
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig, FlowPolicy


@dataclass
class FlowPpo(Ppo):
    """PPO with an average of the weights, a critic warm-up, a fixable normaliser.

    Attributes:
        average: moving average of the velocity's weights, one step per update; None for none.
        decay: its decay per update.
        learns_scale: whether the observations' normaliser learns.
        critic_warmup: iterations without updates of the velocity.
    """

    average: VelocityNet | None = None
    decay: float = 0.0
    learns_scale: bool = True
    critic_warmup: int = 0

    @property
    def flow(self) -> FlowActor:
        """The actor."""
        assert isinstance(self.actor, FlowActor)
        return self.actor

    def update(self, rows: Rows, progress: float) -> dict[str, float]:
        """Run all epochs on one rollout, then one step of the average.

        If the actor follows a critic, the critics run all epochs first.
        """
        iteration = self.steps // (self.config.ticks * self.envs.num_envs)  # this one's number, from 1
        warm = iteration > self.critic_warmup
        if warm and self.flow.follows_critic:
            self.flow.velocity.requires_grad_(False)
            super().update(rows, progress)
        self.flow.velocity.requires_grad_(warm)
        figures = super().update(rows, progress)
        if self.average is not None:
            with torch.no_grad():
                for mean, weight in zip(self.average.parameters(), self.flow.velocity.parameters(), strict=True):
                    mean.lerp_(weight, 1 - self.decay)
        return figures

    def learn_scale(self, raw: Tensor) -> None:
        """Add observations to the normaliser, unless it is fixed. Shape (M, O)."""
        if self.learns_scale:
            super().learn_scale(raw)


class ZeroSampled(FlowPolicy):
    """Flow policy with zero noise and a solver of its own, as scored."""

    def __init__(self, config: FlowConfig, tableau: Tableau, t_grid: Sequence[float]) -> None:
        super().__init__(config)
        self._tableau, self._t_grid = tableau, tuple(t_grid)

    def forward(self, observation: Tensor) -> Tensor:
        """Return actions in robot units, given raw observations. Shapes (B, O) -> (B, A)."""
        zeros = self.low.new_zeros(len(observation), len(self.low))
        return self.sample(observation.to(self.low.dtype), zeros, self._tableau, self._t_grid)


def deployed(
    ppo: FlowPpo, task: Task, sizes: FlowConfig, tableau: Tableau, t_grid: Sequence[float]
) -> ZeroSampled:
    """Return the policy of this moment, with the averaged weights if there are any."""
    actor, policy = ppo.flow, ZeroSampled(sizes, tableau, t_grid)
    policy.velocity.load_state_dict((ppo.average or actor.velocity).state_dict())
    with torch.no_grad():
        policy.velocity.last.weight.mul_(actor.sampling.output_scale)
        policy.velocity.last.bias.mul_(actor.sampling.output_scale)
    policy.observation_mean = ppo.moments.mean.float()
    policy.observation_std = ppo.moments.std(STD_FLOOR).float()
    policy.low, policy.high, middle, half = _limits(task)
    if sizes.squash:  # tanh maps to the limits
        policy.action_mean, policy.action_std = actor.shift.clone(), actor.scale.clone()
    else:
        policy.action_mean, policy.action_std = middle + half * actor.shift, half * actor.scale
    return policy


def begin_from(teacher: FlowPolicy, ppo: FlowPpo, task: Task) -> None:
    """Copy weights and normalisers of a teacher: the actor then samples as it does.

    The normaliser stays fixed from then on, as the weights require.
    """
    actor = ppo.flow
    actor.velocity.load_state_dict(teacher.velocity.state_dict())
    _, _, middle, half = _limits(task)
    if teacher.config.squash:
        actor.scale, actor.shift = teacher.action_std.clone(), teacher.action_mean.clone()
    else:
        actor.scale, actor.shift = teacher.action_std / half, (teacher.action_mean - middle) / half
    ppo.moments.mean = teacher.observation_mean.double()
    ppo.moments.variance = teacher.observation_std.double().square()
    ppo.moments.count = torch.ones_like(ppo.moments.count)
    ppo.learns_scale = False


def _limits(task: Task) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return low, high, middle and half range of each action. Shapes (A,)."""
    low, high = torch.from_numpy(lows(task.action)), torch.from_numpy(highs(task.action))
    return low, high, (low + high) / 2, (high - low) / 2
