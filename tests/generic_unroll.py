"""The plain unroll of a flow policy: reference and baseline of the split form."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from odeploy_train.modules.networks import time_embedding
from odeploy_train.modules.ode import Tableau, integrate
from odeploy_train.policies.flow import FlowPolicy


class GenericUnroll(nn.Module):
    """Unrolled ODE from `observation` (B, O) and `noise` (B, 1, 1, D) to `action` (B, 1, A), as in training.

    With `constant_time`, each step's time embedding is a constant, broadcast to the batch. Otherwise it comes
    from `torch.full((B,), t)`, as in the training code.
    """

    def __init__(self, policy: FlowPolicy, tableau: Tableau, t_grid: Sequence[float], constant_time: bool) -> None:
        super().__init__()
        self.policy, self.tableau, self.t_grid = policy, tableau, tuple(t_grid)
        self.constant_time = constant_time

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Return the actions. Shapes (B, O), (B, 1, 1, D) -> (B, 1, A)."""
        policy, net = self.policy, self.policy.velocity
        normalised = policy.normalise(observation)

        def field(t: float, x: Tensor) -> Tensor:
            if not self.constant_time:
                velocity: Tensor = net(normalised, x, x.new_full((x.shape[0],), t))
                return velocity
            embedding = time_embedding(torch.tensor([t]), net.time_features).expand(x.shape[0], -1)
            h = silu(net.first(torch.cat([normalised, x, embedding], dim=-1)))
            for layer in net.hidden:
                h = silu(layer(h))
            constant: Tensor = net.last(h)
            return constant

        x = integrate(field, noise.flatten(1), self.tableau, self.t_grid)
        action = torch.clamp(x * policy.action_std + policy.action_mean, policy.low, policy.high)
        return action.unsqueeze(1)
