"""FPO and FPO++: a flow-matching loss takes the place of the log-density.

A flow's density is expensive. The loss is, up to a weight and a constant, an upper bound of -log π(a|s): its fall
stands for the rise of the log-likelihood (FPO, arXiv 2507.21053). For draws (t_i, ε_i)

    ℓ_θ(t_i, ε_i) = w(t_i) ‖ v_θ(s, x_t, t_i) - (x_1 - ε_i) ‖² / n(D),    x_t = (1 - t) ε + t x_1

    u-MSE    w = 1
    ε-MSE    w = t², since the noise that v implies is ε̂ = x_t - t v, so that ε̂ - ε = -t (v - (x_1 - ε))

Both objectives compare the losses of an action by the old policy and by this one, over the same N draws. The draws
are made once per rollout and stored with the old losses: with other draws the ratio is noise.

    FPO    arXiv 2507.21053   one ratio for an action
    FPO++  arXiv 2602.02481   one ratio for a draw, and a softer bound where the advantage is negative

Against a collapse to one action, PolicyFlow (arXiv 2602.01156, eqs. 14 to 16) adds a term on the same draws:

    w_b ‖(1 - t) v_θ(s, x_t, t) - (x_t - t v_old(s, x_t, t))‖²

x_t - t v_old is the noise that the old velocity implies, and (t v_old - x_t) / (1 - t) the score of its flow at t.
The term pulls v_θ to the negative score, the velocity of a Brownian motion, which spreads the actions.

On summed u-losses weighted by t / (1 - t) the mean difference is the log-likelihood ratio itself, for the optimal
velocities of both policies; unweighted, as both papers use it, it has the same sign and its own scale. Both
papers' code runs time from t = 1 noise to t = 0 action; their 1 - t is t here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.modules.networks import VelocityNet, time_embedding
from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.on_policy.ratio import limited_ratio, straight_through_limit
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.runs.learning_curve import Info

LOSS_LIMIT = 20.0
"""FPO++'s upper limit of a loss: one extreme draw cannot make a ratio of e^-100."""
DIFFERENCE_LIMIT = 10.0
"""FPO++'s upper limit of a loss difference, in the ratio's value but not in its gradient."""

Surrogate = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Info]]
"""(old losses (M, N), new losses (M, N), advantages (M,), ε) -> loss to minimise, and figures."""


@dataclass(frozen=True)
class Draws:
    """Estimate of the loss of an action."""

    count: int = 8
    """Draws N_mc of (t, ε) per action."""
    supervised: Literal["u", "eps"] = "eps"
    """Squared error: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "mean"
    """Divisor n(D): D, or √D as in FPO++."""
    times: tuple[float, ...] | None = None
    """Times t, drawn uniformly; None for all of [margin, 1 - margin]."""
    margin: float = 0.0
    """Distance of continuous times from 0 and 1."""

    def draw_times(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw times t_i."""
        if self.times is None:
            return self.margin + (1 - 2 * self.margin) * torch.rand(shape, generator=generator)
        return torch.tensor(self.times)[torch.randint(len(self.times), shape, generator=generator)]

    def weight(self, t: Tensor, size: int) -> Tensor:
        """Return w(t) / n(D) for actions of size D. Shape of t."""
        scale = size if self.reduction == "mean" else size**0.5
        return (t.square() if self.supervised == "eps" else torch.ones_like(t)) / scale


class FpoActor(FlowActor):
    """Flow with the losses of its actions; see `on_policy.ppo.Actor`.

    Args:
        velocity, sampling: see `FlowActor`.
        draws: draws of the loss.
        surrogate: objective of old and new losses.
        brownian: weight w_b of PolicyFlow's term; 0 for none.
    """

    def __init__(
        self,
        velocity: VelocityNet,
        sampling: Sampling,
        draws: Draws,
        surrogate: Surrogate,
        brownian: float = 0.0,
    ) -> None:
        super().__init__(velocity, sampling)
        self.draws, self.surrogate, self.brownian = draws, surrogate, brownian

    def remember(self, observation: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return draws per action with this policy's losses on them."""
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
        velocity = self.velocities(observation, kept["inputs"])
        if self.brownian > 0:
            t = t.view(M, N, 1)
            kept |= {"left": 1 - t, "implied_noise": x_t.view(M, N, D) - t * velocity}
        return kept | {"losses": self.losses(velocity, kept)}

    def losses(self, velocity: Tensor, kept: dict[str, Tensor]) -> Tensor:
        """Return ℓ_θ of each draw of `remember`, given v_θ there.

        Shapes (M, N, D), ... -> (M, N).
        """
        losses: Tensor = kept["weight"] * (velocity - kept["target"]).square().sum(-1)
        return losses

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return the surrogate of old and new losses, plus the Brownian term."""
        kept = rows.remembered
        velocity = self.velocities(rows.observation, kept["inputs"])
        new = self.losses(velocity, kept)
        loss, info = self.surrogate(kept["losses"], new, rows.advantage, clip)
        info["flow_matching_loss"] = new.detach().mean()
        if self.brownian > 0:
            residual = (kept["left"] * velocity - kept["implied_noise"]).square().sum(-1).mean()
            loss, info["brownian"] = loss + self.brownian * residual, residual.detach()
        return loss, info


def fpo(old: Tensor, new: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Info]:
    """Return PPO's clipped surrogate of ρ = exp(mean_i ℓ_old - mean_i ℓ_θ).

    ρ estimates exp(E ℓ_old - E ℓ_θ) and is too large on average (Jensen), more so with fewer draws. Its gradient
    at ρ = 1, A ∇ mean_i -ℓ_θ, is unbiased. It is limited to e^10, as for the other flow policies: otherwise one
    extreme action ends a run at infinity.

    Args:
        old: losses by the old policy. Shape (M, N).
        new: losses by this one, on the same draws. Shape (M, N).
        advantage: Shape (M,).
        clip: ε.
    """
    ratio = limited_ratio(old.mean(-1) - new.mean(-1))
    return clipped_surrogate(ratio, advantage, clip)


def fpo_plus_plus(
    old: Tensor, new: Tensor, advantage: Tensor, clip: float, trust_region: Literal["aspo", "ppo"] = "aspo"
) -> tuple[Tensor, Info]:
    """Return the surrogate of one ratio ρ_i = exp(ℓ_old,i - ℓ_θ,i) per draw.

    Each ratio has its own trust region. ASPO is PPO's clip where A ≥ 0. Where A < 0 it is SPO,

        ρ A - |A| (ρ - 1)² / (2 ε),

    which pulls a ratio outside [1 - ε, 1 + ε] back, where PPO's clip only has no gradient.

    As in the authors' code, losses are limited, then their difference from above, in value but not in gradient.

    Args:
        old: losses by the old policy. Shape (M, N).
        new: losses by this one, on the same draws. Shape (M, N).
        advantage: Shape (M,).
        clip: ε.
        trust_region: `ppo` clips at both signs.
    """
    difference = old.clamp(max=LOSS_LIMIT) - new.clamp(max=LOSS_LIMIT)
    ratio = straight_through_limit(difference, DIFFERENCE_LIMIT).exp()
    A = advantage[:, None]
    if trust_region == "ppo":
        return clipped_surrogate(ratio, A, clip)
    raised, info = clipped_surrogate(ratio, A.clamp(min=0), clip)
    return raised + spo(ratio, A.clamp(max=0), clip), info


def spo(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return SPO's loss (arXiv 2401.16025), a parabola, optimal at 1 + ε sign A."""
    penalty = advantage.abs() * (ratio - 1).square() / (2 * clip)
    return -(ratio * advantage - penalty).mean()
