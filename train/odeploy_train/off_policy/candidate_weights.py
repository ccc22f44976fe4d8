"""Weights of candidate actions for a regression: a softmax of advantages.

    A_i = Q(s, a_i) - mean_j Q(s, a_j),    w = softmax(A / τ),    ESS = 1 / Σ_i w_i²

τ is set so that the effective sample size, averaged over a batch's states, is a share ρ of the M candidates. One τ
serves the whole batch: a state whose candidates are all equal keeps all of them, where a τ of its own would turn
the critics' rounding into a preference. FMER (arXiv 2603.17685) sets its temperature from the ESS; that it does so
for a batch is our reconstruction.

With `per_state`, A is first divided by its state's own standard deviation, with a lower bound. Otherwise states
with widely different values, such as those before a fall, take all of the selection.
"""

import math

import torch
from torch import Tensor

_ROUNDING = 1e-4  # smaller differences, as a share of a value, count as equal
_LEAST_SPREAD = 0.2  # lower bound of a state's standard deviation, as a share of the batch's mean
_TOLERANCE = 5e-4  # of the ESS, relative
_MOST_STEPS = 60


@torch.no_grad()
def advantage_weights(
    value: Tensor, share: float, start: float | None = None, *, per_state: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the weights of candidates and the temperature.

    ESS rises with τ, since log ESS = 2 ψ(β) - ψ(2β) falls in β = 1/τ for any convex ψ, and that of a softmax is
    log Σ exp(β A). So its root in log τ is found by Newton's steps within brackets, by a bisection where a step
    leaves them. No weight exceeds exp(2 max|A| / τ) / M, so 2 max|A| / -log ρ is an upper end. If all values are
    equal up to rounding, all weights are.

    Args:
        value: Q(s, a_i). Shape (B, M).
        share: ρ, above 1/M and below 1.
        start: a first guess of τ, such as the last batch's.
        per_state: whether advantages are divided by their state's spread; τ then has no unit.

    Returns:
        Weights, which sum to 1 per state, of shape (B, M); τ, a scalar.
    """
    advantage = value - value.mean(dim=1, keepdim=True)
    least = max(_ROUNDING * float(value.abs().mean()), 1e-12)
    if per_state:
        spread = advantage.square().mean(dim=1, keepdim=True).sqrt()
        spread = spread.clamp(min=max(_LEAST_SPREAD * float(spread.mean()), least))
        advantage, least = advantage / spread, least / float(spread.mean())
    wanted = share * value.shape[1]
    floor = math.log(least)
    low, high = -math.inf, max(math.log(max(2 * float(advantage.abs().max()) / -math.log(share), 1e-12)), floor)
    x = (floor + high) / 2 if start is None else min(max(math.log(start), floor), high)
    for _ in range(_MOST_STEPS):
        weights = (advantage * math.exp(-x)).softmax(dim=1)
        squares = weights.square()
        size = 1 / squares.sum(dim=1)
        error = float(size.mean()) / wanted - 1
        if abs(error) <= _TOLERANCE or (x == floor and error > 0):
            break
        low, high = (low, x) if error > 0 else (x, high)
        # d ESS / d log τ = 2 ESS / τ (Σ w² A / Σ w² - Σ w A)
        tilt = (squares * advantage).sum(dim=1) * size - (weights * advantage).sum(dim=1)
        slope = 2 * math.exp(-x) * float((size * tilt).mean())
        newton = x - error * wanted / slope if slope > 0 else -math.inf
        inside = max(low, floor) < newton < high
        x = newton if inside else floor if low == -math.inf else (low + high) / 2
    return weights, torch.tensor(math.exp(x), dtype=value.dtype)


def effective_size(weights: Tensor) -> Tensor:
    """Return 1 / Σ_i w_i². Shapes (B, M) -> (B,)."""
    return 1 / weights.square().sum(dim=1)


def resampled(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the indices of R candidates per state, drawn by weight.

    Systematic: a candidate of weight w is drawn R w times, rounded down or up, and R w times in the mean.

    Shapes (B, M) -> (B, R).
    """
    marks = torch.arange(count) + torch.rand(len(weights), 1, generator=generator)
    edges = weights.cumsum(dim=1)
    return torch.searchsorted(edges, marks / count * edges[:, -1:], right=True).clamp(max=weights.shape[1] - 1)
