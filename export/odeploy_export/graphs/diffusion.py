"""A diffusion policy's ancestral sampler, unrolled, with one noise draw per step.

Constants are folded into weights. As in `graphs/flow.py`, the observation's part of the first layer is computed
once, the time's part is a constant of each step, hidden weights are shared, and the last layer updates the state
in one Gemm. With s, m the action's scale and mean, W_l and b_l the last layer, the state is the action plus
decreasing noise:

    y_k = s x_k / √ᾱ_k + m - σ_k s b_l,    σ_k = √((1 - ᾱ_k) / ᾱ_k)

With h the last hidden layer, keep and std of `modules.ddpm.Posterior`, z the draw, and primes for the next
level, a step is

    a  = y - σ s W_l h                                           the predicted action
    y' = (1 - keep) a + keep y + d,    d = s std / √ᾱ' z + (keep σ - σ') s b_l

and the last step returns a. Without clipping this is y' = (y + d) - (1 - keep) σ s W_l h: one addition and one
Gemm. All d are scaled at once. The state is [y, 1], and the weight of the 1 is the time's part; d undoes what a
step does to the 1.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from odeploy_export.graphs.bounds import Bounds
from odeploy_export.graphs.flow import ObservationPart
from odeploy_export.graphs.weights import constant, linears
from odeploy_train.modules.ddpm import posterior
from odeploy_train.modules.networks import time_embedding
from odeploy_train.policies.diffusion import DiffusionPolicy


class UnrolledDiffusion(nn.Module):
    """Graph of a diffusion policy for S + 1 times.

    `observation` (B, O), `noise` (B, 1, S, D) -> `action` (B, 1, A).
    """

    horizon = 1

    def __init__(self, policy: DiffusionPolicy, t_grid: Sequence[float]) -> None:
        super().__init__()
        net, levels = policy.denoiser, policy.levels
        O, D = net.observation_size, net.action_size  # noqa: E741
        W = net.first.weight.detach().double()
        W_o, W_x, W_t = W[:, :O], W[:, O : O + D], W[:, O + D :]
        b_l = net.last.bias.detach().double()
        m, s = policy.action_mean.double(), policy.action_std.double()
        alpha_bar = [levels.alpha_bar[levels.step(t)] for t in t_grid]
        sigma = [math.sqrt((1 - a) / a) for a in alpha_bar]
        steps = [posterior(now, following) for now, following in pairwise(alpha_bar)]

        self.observation = ObservationPart(policy, W_o, net.first.bias.detach().double())
        self.state_weight = nn.ParameterList()
        for t, a in zip(t_grid[:-1], alpha_bar, strict=False):
            e = time_embedding(torch.tensor([t], dtype=torch.float64), net.time_features)[0]
            time_part = W_t @ e + W_x @ (math.sqrt(1 - a) * b_l - math.sqrt(a) * m / s)
            self.state_weight.append(constant(torch.cat([math.sqrt(a) * W_x / s, time_part[:, None]], dim=1).T))
        hidden = linears(net.hidden)
        self.hidden_weight = nn.ParameterList(constant(layer.weight.detach().T) for layer in hidden)
        self.hidden_bias = nn.ParameterList(constant(layer.bias.detach()) for layer in hidden)
        W_l = s[:, None] * net.last.weight.detach().double()
        self.last_weight = constant(torch.cat([W_l, torch.zeros(1, W_l.shape[1])]).T)

        self._clips, self._sigma, self._keep = policy.clips, sigma[:-1], [p.keep for p in steps]
        self.bounds = Bounds(*(torch.cat([limit, limit[:1]]) for limit in (policy.low, policy.high)))
        one = self.bounds(torch.ones(D + 1))[-1:].double() if self._clips else torch.ones(1)
        scale, offset = [s / math.sqrt(alpha_bar[0])], [torch.cat([m - sigma[0] * s * b_l, torch.ones(1)])]
        for i, p in enumerate(steps[:-1]):
            scale.append(s * p.std / math.sqrt(alpha_bar[i + 1]))
            drift = (p.keep * sigma[i] - sigma[i + 1]) * s * b_l
            offset.append(torch.cat([drift, (1 - p.keep) * (1 - one)]))
        self.draw_scale = constant(pad(torch.stack(scale), (0, 1)))
        self.draw_offset = constant(torch.stack(offset))

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Shapes (B, O), (B, 1, S, D) -> (B, 1, A)."""
        return self.solve(self.observation(observation), noise).unsqueeze(1)

    def solve(self, o: Tensor, noise: Tensor) -> Tensor:
        """Denoise S draws for each row of `o`.

        Shapes (R, W), any of R · S · D numbers -> (R, D).
        """
        S, columns = self.draw_scale.shape
        draws = pad(noise.reshape(-1, S, columns - 1), (0, 1)) * self.draw_scale + self.draw_offset
        state, *later = torch.split(draws.reshape(-1, S * columns), columns, dim=1)
        for weight, sigma, keep, draw in zip(
            self.state_weight, self._sigma, self._keep, [*later, None], strict=True
        ):
            h = self._hidden(o, state, weight)
            if draw is None:
                state = torch.addmm(state, h, self.last_weight, alpha=-sigma)
            elif self._clips:
                predicted = self.bounds(torch.addmm(state, h, self.last_weight, alpha=-sigma))
                state = (1 - keep) * predicted + (keep * state + draw)
            else:
                state = torch.addmm(state + draw, h, self.last_weight, alpha=-(1 - keep) * sigma)
        action: Tensor = self.bounds(state)
        return action[:, : columns - 1]

    def _hidden(self, o: Tensor, state: Tensor, state_weight: Tensor) -> Tensor:
        h = silu(torch.addmm(o, state, state_weight))
        for weight, bias in zip(self.hidden_weight, self.hidden_bias, strict=True):
            h = silu(torch.addmm(bias, h, weight))
        return h
