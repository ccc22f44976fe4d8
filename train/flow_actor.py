"""A flow policy as PPO's actor: sampled by its ODE, judged by its flow-matching loss instead of a density.

A velocity v_θ(s, x, t) carries noise at t = 0 to x_1 at t = 1, and the action is the bounded x_1. How likely an
action is becomes how well the velocity explains it (FPO, arXiv 2507.21053). For draws (t_i, ε_i)

    ℓ_θ(t_i, ε_i) = w(t_i) ‖ v_θ(s, x_t, t_i) - (x_1 - ε_i) ‖² / n(D),    x_t = (1 - t) ε + t x_1

    u-MSE    w = 1
    ε-MSE    w = t², since the noise that v implies is ε̂ = x_t - t v, so that ε̂ - ε = -t (v - (x_1 - ε))

Both papers' code runs time from t = 1 noise to t = 0 action; what they call 1 - t is t here. The draws are made
once for a rollout and kept with the old losses: a ratio compares two policies on the same draws, or it is noise.

What the learning rule makes of old and new losses is `train.fpo`; solver and steps here are those of rollouts
and need not be those of deployment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from train.flow import straight_path
from train.networks import VelocityNet, time_embedding
from train.ode import Tableau, evaluation_times, integrate
from train.ppo import Info, Rows

Surrogate = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Info]]
"""(old losses (M, N), new losses (M, N), advantages (M,), ε) -> what to minimise, and figures."""

SATURATED = 1 - 2**-22
"""Unit actions are taken for x no nearer to a limit than this: atanh of 1 is infinite."""


@dataclass(frozen=True)
class Draws:
    """How the loss of an action is estimated."""

    count: int = 8
    """N_mc: draws of (t, ε) for each action."""
    supervised: Literal["u", "eps"] = "eps"
    """The error that is squared: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "mean"
    """n(D): D, or √D as in FPO++."""
    times: tuple[float, ...] | None = None
    """Those that t is drawn from, all alike; None for all of [margin, 1 - margin]."""
    margin: float = 0.0
    """How far continuous times stay away from 0 and 1."""

    def draw_times(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Times t_i."""
        if self.times is None:
            return self.margin + (1 - 2 * self.margin) * torch.rand(shape, generator=generator)
        return torch.tensor(self.times)[torch.randint(len(self.times), shape, generator=generator)]

    def weight(self, t: Tensor, size: int) -> Tensor:
        """w(t) / n(D), for actions of that size. Shape of t."""
        scale = size if self.reduction == "mean" else size**0.5
        return (t.square() if self.supervised == "eps" else torch.ones_like(t)) / scale


class FlowActor(nn.Module):
    """Noise becomes an action; see `train.ppo.Actor`.

    Args:
        velocity: its output times `output_scale` is v_θ.
        draws: of the loss.
        surrogate: of old and new losses.
        tableau: the solver of rollouts.
        t_grid: its K + 1 times.
        squash: whether unit actions are tanh of the scaled x; otherwise they are the scaled x, and the
            environment clips them.
        output_scale: of the velocity.
        perturbation: standard deviation of the noise that rollouts add to x_1, and learn from with it.

    Attributes:
        scale, shift: what bounds take is scale · x_1 + shift. Shape (D,).
        sampling_s: time spent in `act` so far, for the curves.
    """

    scale: Tensor
    shift: Tensor
    embedded: Tensor

    def __init__(
        self,
        velocity: VelocityNet,
        draws: Draws,
        surrogate: Surrogate,
        tableau: Tableau,
        t_grid: Sequence[float],
        *,
        squash: bool = False,
        output_scale: float = 1.0,
        perturbation: float = 0.0,
    ) -> None:
        super().__init__()
        self.velocity, self.draws, self.surrogate = velocity, draws, surrogate
        self.tableau, self.t_grid = tableau, tuple(t_grid)
        self.squash, self.output_scale, self.perturbation = squash, output_scale, perturbation
        self.register_buffer("scale", torch.ones(velocity.action_size))
        self.register_buffer("shift", torch.zeros(velocity.action_size))
        times = evaluation_times(tableau, t_grid)
        self.register_buffer("embedded", time_embedding(torch.tensor(times), velocity.time_features), False)
        self.sampling_s = 0.0

    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """A unit action. Shapes (N, O) -> (N, D)."""
        begun = perf_counter()
        shape = len(observation), self.velocity.action_size
        x = self.sample(observation, torch.randn(shape, generator=generator))
        if self.perturbation > 0:
            x += self.perturbation * torch.randn(shape, generator=generator)
        action = self.to_unit(x)
        self.sampling_s += perf_counter() - begun
        return action

    @torch.no_grad()
    def sample(self, observation: Tensor, noise: Tensor) -> Tensor:
        """x_1 from noise; zeros give the one deterministic answer.

        The first layer is linear over [s, x, emb(t)]: the observation's part is computed once, the times' parts
        of all evaluations in one product, and the loop multiplies by x alone. Weights are read where they lie,
        so no copy of them can be stale.

        Args:
            observation: normalised. Shape (N, O).
            noise: Shape (N, D).
        """
        net = self.velocity
        W_o, W_x, W_t = self._first()
        o = torch.addmm(net.first.bias, observation, W_o.T)
        constants = iter((o + (self.embedded @ W_t.T)[:, None]).unbind())
        hidden = [(layer.bias, layer.weight.T) for layer in net.hidden if isinstance(layer, nn.Linear)]
        W_l, b_l = net.last.weight.T, net.last.bias

        def field(_: float, x: Tensor) -> Tensor:
            h = silu(torch.addmm(next(constants), x, W_x.T), inplace=True)
            for bias, weight in hidden:
                h = silu(torch.addmm(bias, h, weight), inplace=True)
            return torch.addmm(b_l, h, W_l)

        def advance(x: Tensor, slope: Tensor, dt: float) -> Tensor:
            return torch.add(x, slope, alpha=dt * self.output_scale)

        return integrate(field, noise, self.tableau, self.t_grid, advance)

    def to_unit(self, x: Tensor) -> Tensor:
        """The unit action that x_1 stands for, before any clip. Shape (N, D)."""
        unit = torch.addcmul(self.shift, x, self.scale)
        return unit.tanh_() if self.squash else unit

    def to_flow(self, action: Tensor) -> Tensor:
        """The x_1 of a unit action; where tanh had saturated in float32, |scale · x_1 + shift| is 8 or so.

        Shape (N, D).
        """
        if self.squash:
            action = action.clamp(-SATURATED, SATURATED).atanh()
        return (action - self.shift) / self.scale

    def remember(self, observation: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws for each action, all that a loss on them needs but the policy, and this policy's losses."""
        x1 = self.to_flow(action)
        (M, D), N = x1.shape, self.draws.count
        noise = torch.randn(M * N, D, generator=generator)
        t = self.draws.draw_times((M * N,), generator)
        x_t, target = straight_path(noise, x1.repeat_interleave(N, dim=0), t)
        kept = {
            "inputs": torch.cat([x_t, time_embedding(t, self.velocity.time_features)], dim=-1).view(M, N, -1),
            "target": target.view(M, N, D),
            "weight": self.draws.weight(t, D).view(M, N),
        }
        return kept | {"losses": self.losses(observation, kept)}

    def losses(self, observation: Tensor, kept: dict[str, Tensor]) -> Tensor:
        """ℓ_θ of each draw that `remember` kept. Shapes (M, O), ... -> (M, N)."""
        net = self.velocity
        W = net.first.weight
        O = net.observation_size  # noqa: E741
        h = silu(linear(kept["inputs"], W[:, O:]) + linear(observation, W[:, :O], net.first.bias)[:, None])
        for layer in net.hidden:
            h = silu(layer(h))
        error = self.output_scale * net.last(h) - kept["target"]
        losses: Tensor = kept["weight"] * error.square().sum(-1)
        return losses

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """The surrogate of old and new losses."""
        new = self.losses(rows.observation, rows.remembered)
        loss, info = self.surrogate(rows.remembered["losses"], new, rows.advantage, clip)
        return loss, info | {"flow_matching_loss": new.detach().mean()}

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        """The first layer's weights of observation, x and embedded time."""
        net, W = self.velocity, self.velocity.first.weight
        O, D = net.observation_size, net.action_size  # noqa: E741
        return W[:, :O], W[:, O : O + D], W[:, O + D :]
