"""The Gaussian policy of PPO: a tanh MLP for the mean, a state-independent std."""

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

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the hidden layers.
        log_std: log σ at the start.
        entropy_coefficient: coefficient of the entropy bonus.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...] = (64, 64),
        log_std: float = -1.0,
        entropy_coefficient: float = 0.0,
    ) -> None:
        super().__init__()
        self.mean = mlp((observation_size, *widths, action_size), nn.Tanh)
        self.log_std = nn.Parameter(torch.full((action_size,), log_std))
        self.entropy_coefficient = entropy_coefficient

    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Sample an action. Shapes (N, O) -> (N, A)."""
        mean: Tensor = self.mean(observation)
        return mean + self.log_std.exp() * torch.randn(mean.shape, generator=generator)

    def log_density(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return log π(a|s). Shapes (M, O), (M, A) -> (M,)."""
        unit = (action - self.mean(observation)) * (-self.log_std).exp()
        log_density: Tensor = -0.5 * unit.square().sum(-1) - (self.log_std + _HALF_LOG_2PI).sum()
        return log_density

    def remember(self, observation: Tensor, action: Tensor, _generator: torch.Generator) -> dict[str, Tensor]:
        """Return the old log-density."""
        return {"log_density": self.log_density(observation, action)}

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return PPO's clipped surrogate minus the entropy bonus."""
        ratio = (self.log_density(rows.observation, rows.action) - rows.remembered["log_density"]).exp()
        loss, info = clipped_surrogate(ratio, rows.advantage, clip)
        entropy = (self.log_std + _HALF_LOG_2PI + 0.5).sum()
        info["entropy"] = entropy.detach()
        return loss - self.entropy_coefficient * entropy, info
