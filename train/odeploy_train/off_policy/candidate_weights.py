"""Weights of candidate actions for a regression: a softmax of advantages.

    A_i = Q(s, a_i) - mean_j Q(s, a_j),    w = softmax(A / τ),    ESS = 1 / Σ_i w_i²

τ is set so that the effective sample size, averaged over a batch's states, is a share ρ of the M candidates. One τ
serves the whole batch: a state whose candidates are all equal keeps all of them, where a τ of its own would turn
    the critics' rounding into a preference. FMER (arXiv 2603.17685) sets its temperature from the ESS; that it
    does so for a batch and by bisection is our reconstruction.
"""

import math

import torch
from torch import Tensor

_BISECTIONS = 20
_ROUNDING = 1e-4  # smaller differences, as a share of a value, count as equal


@torch.no_grad()
def advantage_weights(value: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the weights of candidates and the temperature.

    ESS rises with τ, since log ESS = 2 ψ(β) - ψ(2β) falls in β = 1/τ for any convex ψ, and that of a softmax is
    log Σ exp(β A). No weight exceeds exp(2 max|A| / τ) / M, so 2 max|A| / -log ρ is an upper end. If all values
    are equal up to rounding, all weights are.

    Args:
        value: Q(s, a_i). Shape (B, M).
        share: ρ, above 1/M and below 1.

    Returns:
        Weights, which sum to 1 per state, of shape (B, M); τ, a scalar.
    """
    advantage = value - value.mean(dim=1, keepdim=True)
    low = (_ROUNDING * value.abs().mean()).clamp(min=1e-12).log()
    high = (2 * advantage.abs().max() / -math.log(share)).clamp(min=1e-12).log().maximum(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        enough = effective_size((advantage / middle.exp()).softmax(dim=1)).mean() >= share * value.shape[1]
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    temperature = high.exp()
    return (advantage / temperature).softmax(dim=1), temperature


def effective_size(weights: Tensor) -> Tensor:
    """Return 1 / Σ_i w_i². Shapes (B, M) -> (B,)."""
    return 1 / weights.square().sum(dim=1)
