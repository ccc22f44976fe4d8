"""FPO's actor: a flow that is judged by its flow-matching loss instead of a density.

How likely an action is becomes how well the velocity explains it (FPO, arXiv 2507.21053). For draws (t_i, ε_i)

    ℓ_θ(t_i, ε_i) = w(t_i) ‖ v_θ(s, x_t, t_i) - (x_1 - ε_i) ‖² / n(D),    x_t = (1 - t) ε + t x_1

    u-MSE    w = 1
    ε-MSE    w = t², since the noise that v implies is ε̂ = x_t - t v, so that ε̂ - ε = -t (v - (x_1 - ε))

Both papers' code runs time from t = 1 noise to t = 0 action; what they call 1 - t is t here. The draws are made
once for a rollout and kept with the old losses: a ratio compares two policies on the same draws, or it is noise.

What the learning rule makes of old and new losses is `odeploy_train.flow_rl.fpo`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.modules.networks import VelocityNet, time_embedding
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.runs.learning_curve import Info

Surrogate = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Info]]
"""(old losses (M, N), new losses (M, N), advantages (M,), ε) -> what to minimise, and figures."""


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


class FpoActor(FlowActor):
    """A flow with the losses of its actions; see `odeploy_train.on_policy.ppo.Actor`.

    Args:
        velocity, sampling: see `FlowActor`.
        draws: of the loss.
        surrogate: of old and new losses.
    """

    def __init__(self, velocity: VelocityNet, sampling: Sampling, draws: Draws, surrogate: Surrogate) -> None:
        super().__init__(velocity, sampling)
        self.draws, self.surrogate = draws, surrogate

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
        error = self.velocities(observation, kept["inputs"]) - kept["target"]
        losses: Tensor = kept["weight"] * error.square().sum(-1)
        return losses

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """The surrogate of old and new losses."""
        new = self.losses(rows.observation, rows.remembered)
        loss, info = self.surrogate(rows.remembered["losses"], new, rows.advantage, clip)
        return loss, info | {"flow_matching_loss": new.detach().mean()}
