"""Ratios of policies that stay finite, whatever two policies think of one action.

exp is infinite in float32 beyond 88, and a narrow density moves by more than that in one bad update. A limit from
above holds the value and lets the gradient through, so that what has become far too likely can still be brought
back; what has become far too unlikely has no gradient.
"""

from torch import Tensor

LOG_RATIO_LIMIT = 10.0
"""No density counts as having grown or fallen by more than e^10."""


def limited_ratio(log_ratio: Tensor) -> Tensor:
    """ρ = exp(log p_θ - log p_old), from e^-10 to e^10. Any shape."""
    return straight_through_limit(log_ratio.clamp(min=-LOG_RATIO_LIMIT), LOG_RATIO_LIMIT).exp()


def straight_through_limit(x: Tensor, limit: float) -> Tensor:
    """min(x, limit) with the gradient of x. Any shape."""
    return x + (x.clamp(max=limit) - x).detach()
