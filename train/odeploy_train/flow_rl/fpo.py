"""FPO and FPO++: what stands in the place of PPO's ratio when a policy is a flow and has no density at hand.

A flow-matching loss is, up to a weight and a constant, an upper bound of -log π(a|s), so the fall of the loss
stands for the rise of the log-likelihood. Both objectives take the losses ℓ(t_i, ε_i) of an action, of the old
policy and of this one, over the same N draws (see `odeploy_train.flow_rl.fpo_actor`), and are minimised.

    FPO    arXiv 2507.21053   one ratio for an action
    FPO++  arXiv 2602.02481   one ratio for a draw, and a softer bound where the advantage is negative

On summed u-losses weighted by t / (1 - t) the mean difference is the log-likelihood ratio itself, for the optimal
velocities of both policies; unweighted, as both papers use it, it has the same sign and its own scale.
"""

from typing import Literal

from torch import Tensor

from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.on_policy.ratio import limited_ratio, straight_through_limit
from odeploy_train.runs.learning_curve import Info

LOSS_LIMIT = 20.0
"""FPO++ lets no loss count for more than this, so that one wild draw cannot make a ratio of e^-100."""
DIFFERENCE_LIMIT = 10.0
"""FPO++ lets no loss fall by more than this between two policies, as far as the ratio's value goes."""


def fpo(old: Tensor, new: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Info]:
    """PPO's clipped surrogate of ρ = exp(mean_i ℓ_old - mean_i ℓ_θ).

    ρ estimates exp(E ℓ_old - E ℓ_θ) and is too large on average (Jensen), the more so the fewer the draws;
    its gradient at ρ = 1, A ∇ mean_i -ℓ_θ, is not biased. Where it would pass e^10 it counts as that, as it does
    for the other flow policies: otherwise one wild action ends a run at infinity.

    Args:
        old: losses of the old policy. Shape (M, N).
        new: losses of this one, on the same draws. Shape (M, N).
        advantage: Shape (M,).
        clip: ε.
    """
    ratio = limited_ratio(old.mean(-1) - new.mean(-1))
    return clipped_surrogate(ratio, advantage, clip)


def fpo_plus_plus(
    old: Tensor, new: Tensor, advantage: Tensor, clip: float, trust_region: Literal["aspo", "ppo"] = "aspo"
) -> tuple[Tensor, Info]:
    """One ratio ρ_i = exp(ℓ_old,i - ℓ_θ,i) for each draw, each with a trust region of its own.

    ASPO is PPO's clip where A ≥ 0. Where A < 0 it is SPO,

        ρ A - |A| (ρ - 1)² / (2 ε),

    which pulls a ratio that has left [1 - ε, 1 + ε] back, where PPO's clip only lets go of it.

    As in the authors' code, losses are limited, then their difference from above, in its value but not in its
    gradient.

    Args:
        old: losses of the old policy. Shape (M, N).
        new: losses of this one, on the same draws. Shape (M, N).
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
    """SPO (arXiv 2401.16025), to be minimised: a parabola with its top at ρ = 1 + ε sign A."""
    penalty = advantage.abs() * (ratio - 1).square() / (2 * clip)
    return -(ratio * advantage - penalty).mean()
