"""The split form of a flow policy: what does not depend on x is computed once.

The velocity network's first layer is linear over [o, x, emb(t)], so W [o, x, emb] = W_o o + W_x x + W_t emb.
W_o o is computed once, W_t emb(t) is a constant of each evaluation, and only W_x x is left in the loop. The
last layer and the solver's update are one Gemm, x + (dt b_i) · h W_lᵀ.

The rest is folded into weights, in float64. With a = s x + m the action in robot units and b_l the last
layer's bias, the graph integrates y = a + (1 - t) s b_l, which ends as the action itself:

    dy/dt = s (W_l h + b_l) - s b_l = s W_l h            no bias in the update
    x     = (y - m - (1 - t) s b_l) / s                  its constant part joins the evaluation's constant

Any explicit tableau keeps these identities, since its stage times are the row sums of its matrix. The state
is [y, 1]: the weight of the 1 is the evaluation's constant, which saves an addition each time. The update adds
0 to the 1.

If the normalised observation is clipped, the normaliser stays in front of W_o instead of inside it. If tanh maps
the flow's end onto the limits, a is the input of tanh.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from odeploy_export.graphs.bounds import Bounds
from odeploy_export.graphs.weights import constant, linears
from odeploy_train.modules.networks import time_embedding
from odeploy_train.modules.ode import Tableau, evaluation_times, integrate
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy


class SplitFlow(nn.Module):
    """Graph of a flow for one solver and t-grid.

    `observation` (B, O), `noise` (B, 1, 1, D) -> `action` (B, H, A).

    Attributes:
        observation: W_o o with the first layer's bias, of shape (B, W).
        horizon: H.
    """

    def __init__(self, policy: FlowPolicy, tableau: Tableau, t_grid: Sequence[float]) -> None:
        super().__init__()
        self._tableau, self._t_grid = tableau, tuple(t_grid)
        self.horizon, self._action_size = policy.config.horizon, policy.config.action_size
        net = policy.velocity
        O, D = net.observation_size, net.action_size  # noqa: E741
        W = net.first.weight.detach().double()
        W_o, W_x, W_t = W[:, :O], W[:, O : O + D], W[:, O + D :]
        b_l = net.last.bias.detach().double()
        m, s = policy.action_mean.double(), policy.action_std.double()

        W_x = W_x / s
        drift = s * b_l
        self.observation = ObservationPart(policy, W_o, net.first.bias.detach().double())
        start = m + (1 - t_grid[0]) * drift
        self.noise_weight = constant(torch.cat([torch.diag(s), torch.zeros(D, 1)], dim=1))
        self.noise_bias = constant(torch.cat([start, torch.ones(1)]))
        self.state_weight = nn.ParameterList(
            constant(torch.cat([W_x, time_part[:, None]], dim=1).T)
            for time_part in (
                W_t @ time_embedding(torch.tensor([t], dtype=torch.float64), net.time_features)[0]
                - W_x @ (m + (1 - t) * drift)
                for t in evaluation_times(tableau, t_grid)
            )
        )
        self.hidden_weight = nn.ParameterList(constant(h.weight.detach().T) for h in linears(net.hidden))
        self.hidden_bias = nn.ParameterList(constant(h.bias.detach()) for h in linears(net.hidden))
        W_l = s[:, None] * net.last.weight.detach().double()
        self.last_weight = constant(torch.cat([W_l, torch.zeros(1, W_l.shape[1])]).T)
        bound = Squash if policy.config.squash else Bounds
        self.bounds = bound(policy.low, policy.high)

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Shapes (B, O), (B, 1, 1, D) -> (B, H, A)."""
        action = self.solve(self.observation(observation), noise)
        return action.reshape(-1, self.horizon, self._action_size)

    def solve(self, o: Tensor, noise: Tensor) -> Tensor:
        """Integrate a draw for each row of `o`.

        Shapes (R, W), any of R · D numbers -> (R, D).
        """
        state_weight = iter(self.state_weight)

        def field(_: float, state: Tensor) -> Tensor:
            h = silu(torch.addmm(o, state, next(state_weight)))
            for weight, bias in zip(self.hidden_weight, self.hidden_bias, strict=True):
                h = silu(torch.addmm(bias, h, weight))
            return h

        def advance(state: Tensor, hidden: Tensor, scale: float) -> Tensor:
            return torch.addmm(state, hidden, self.last_weight, alpha=scale)

        D = len(self.noise_weight)
        state = torch.addmm(self.noise_bias, noise.reshape(-1, D), self.noise_weight)
        state = integrate(field, state, self._tableau, self._t_grid, advance)
        action: Tensor = self.bounds(state[:, :D])
        return action


class ObservationPart(nn.Module):
    """Observation's part W_o o + b of a layer over [normalised observation, ...].

    The normaliser is folded into the weight, or stands in front if it clips.
    """

    def __init__(self, policy: FlowPolicy | DiffusionPolicy, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        mean, std = policy.observation_mean.double(), policy.observation_std.double()
        self._clip, self._clips = policy.clip, math.isfinite(policy.clip)
        if self._clips:
            self.mean, self.scale = constant(mean), constant(1 / std)
        else:
            weight = weight / std
            bias = bias - weight @ mean
        self.weight, self.bias = constant(weight.T), constant(bias)

    def forward(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, W)."""
        if self._clips:
            observation = torch.clamp((observation - self.mean) * self.scale, -self._clip, self._clip)
        return torch.addmm(self.bias, observation, self.weight)


class Squash(nn.Module):
    """Limits by tanh, for (B, A)."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        half_range, middle = (high.double() - low.double()) / 2, (high.double() + low.double()) / 2
        self._unit_scale = bool((half_range == 1).all() and (middle == 0).all())
        self.half_range, self.middle = constant(half_range), constant(middle)
        self.bounds = Bounds(low, high)

    def forward(self, action: Tensor) -> Tensor:
        """Shape (B, A)."""
        unit = torch.tanh(action)
        if self._unit_scale:  # tanh alone keeps the bounds
            return unit
        bounded: Tensor = self.bounds(unit * self.half_range + self.middle)
        return bounded
