"""PPO of a flow: what it deploys, its weights' moving average, how it begins, from a trained flow or slowly.

What a rollout's actor and a deployed `FlowPolicy` say differently is said once here: the actor speaks unit actions
and has a scale on its network's output; the policy speaks robot units and has that scale in its last layer.
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
    """PPO with a moving average of the actor's weights, a critic that may learn first, and a normaliser that may
    stand still.

    Attributes:
        average: of the velocity's weights, one step after each update; None where there is none.
        decay: of it.
        learns_scale: whether the observations' normaliser learns.
        critic_warmup: iterations in which the velocity stands still.
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
        """All epochs on one rollout, then one step of the average; before them, all for the critics where the
        actor follows one."""
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
        """Takes observations into the normaliser, unless it stands still. Shape (M, O)."""
        if self.learns_scale:
            super().learn_scale(raw)


class ZeroSampled(FlowPolicy):
    """A flow policy that answers from zero noise, with a solver of its own: what is scored."""

    def __init__(self, config: FlowConfig, tableau: Tableau, t_grid: Sequence[float]) -> None:
        super().__init__(config)
        self._tableau, self._t_grid = tableau, tuple(t_grid)

    def forward(self, observation: Tensor) -> Tensor:
        """Raw observations to actions in robot units. Shapes (B, O) -> (B, A)."""
        zeros = self.low.new_zeros(len(observation), len(self.low))
        return self.sample(observation.to(self.low.dtype), zeros, self._tableau, self._t_grid)


def deployed(
    ppo: FlowPpo, task: Task, sizes: FlowConfig, tableau: Tableau, t_grid: Sequence[float]
) -> ZeroSampled:
    """The policy of this moment, by the averaged weights where there are any."""
    actor, policy = ppo.flow, ZeroSampled(sizes, tableau, t_grid)
    policy.velocity.load_state_dict((ppo.average or actor.velocity).state_dict())
    with torch.no_grad():
        policy.velocity.last.weight.mul_(actor.sampling.output_scale)
        policy.velocity.last.bias.mul_(actor.sampling.output_scale)
    policy.observation_mean = ppo.moments.mean.float()
    policy.observation_std = ppo.moments.std(STD_FLOOR).float()
    policy.low, policy.high, middle, half = _limits(task)
    if sizes.squash:  # tanh knows the limits
        policy.action_mean, policy.action_std = actor.shift.clone(), actor.scale.clone()
    else:
        policy.action_mean, policy.action_std = middle + half * actor.shift, half * actor.scale
    return policy


def begin_from(teacher: FlowPolicy, ppo: FlowPpo, task: Task) -> None:
    """Takes over weights and normalisers, so that the actor's samples are the teacher's.

    The normaliser stands still from then on: the weights know no other.
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
    """Low, high, middle and half of the range of each action. Shapes (A,)."""
    low, high = torch.from_numpy(lows(task.action)), torch.from_numpy(highs(task.action))
    return low, high, (low + high) / 2, (high - low) / 2
