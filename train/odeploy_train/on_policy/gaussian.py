"""The Gaussian policy of PPO: a tanh MLP for its mean, and for its std if asked."""

import math

import torch
from torch import Tensor, nn

from odeploy_train.modules.networks import mlp
from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.runs.learning_curve import Info

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class GaussianActor(nn.Module):
    """Policy π(a|s) = N(μ(s), diag σ²); ρ is the ratio of densities, before bounds.

    σ is a parameter, or depends on the state: log σ(s) = log σ + W h(s), with the last hidden layer h of the mean
    and W = 0 at the start.

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the hidden layers.
        log_std: log σ at the start.
        entropy_coefficient: coefficient of the entropy bonus.
        state_dependent_std: whether σ depends on the state.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...] = (64, 64),
        log_std: float = -1.0,
        entropy_coefficient: float = 0.0,
        state_dependent_std: bool = False,
    ) -> None:
        super().__init__()
        self.mean = mlp((observation_size, *widths, action_size), nn.Tanh)
        self.log_std = nn.Parameter(torch.full((action_size,), log_std))
        self.entropy_coefficient = entropy_coefficient
        self.spread: nn.Linear | None = None
        if state_dependent_std:
            self.spread = nn.Linear((observation_size, *widths)[-1], action_size, bias=False)
            nn.init.zeros_(self.spread.weight)

    def mean_and_log_std(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ(s) and log σ. Shapes (M, O) -> (M, A), and (M, A) or (A,)."""
        *hidden, last = self.mean
        h = observation
        for layer in hidden:
            h = layer(h)
        return last(h), self.log_std if self.spread is None else self.log_std + self.spread(h)

    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Sample an action. Shapes (N, O) -> (N, A)."""
        mean, log_std = self.mean_and_log_std(observation)
        return mean + log_std.exp() * torch.randn(mean.shape, generator=generator)

    def log_density(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return log π(a|s). Shapes (M, O), (M, A) -> (M,)."""
        return _log_density(action, *self.mean_and_log_std(observation))

    def remember(self, observation: Tensor, action: Tensor, _generator: torch.Generator) -> dict[str, Tensor]:
        """Return the old log-density."""
        return {"log_density": self.log_density(observation, action)}

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return PPO's clipped surrogate minus the entropy bonus."""
        mean, log_std = self.mean_and_log_std(rows.observation)
        ratio = (_log_density(rows.action, mean, log_std) - rows.remembered["log_density"]).exp()
        loss, info = clipped_surrogate(ratio, rows.advantage, clip)
        entropy = (log_std + _HALF_LOG_2PI + 0.5).sum(-1).mean()
        info["entropy"] = entropy.detach()
        return loss - self.entropy_coefficient * entropy, info


def _log_density(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    unit = (action - mean) * (-log_std).exp()
    return -0.5 * unit.square().sum(-1) - (log_std + _HALF_LOG_2PI).sum(-1)
