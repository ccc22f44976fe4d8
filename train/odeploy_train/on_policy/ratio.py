"""Ratios of policies that stay finite.

exp overflows float32 beyond 88, and the log-density of a narrow policy moves by more than that in one bad update.
The upper limit holds the value and passes the gradient, so an action that has become far too likely can still be
corrected. An action that has become far too unlikely has no gradient.
"""

from torch import Tensor

LOG_RATIO_LIMIT = 10.0
"""Limit of the log-ratio: no density counts as changed by more than e^10."""


def limited_ratio(log_ratio: Tensor) -> Tensor:
    """Return ρ = exp(log p_θ - log p_old), from e^-10 to e^10. Any shape."""
    return straight_through_limit(log_ratio.clamp(min=-LOG_RATIO_LIMIT), LOG_RATIO_LIMIT).exp()


def straight_through_limit(x: Tensor, limit: float) -> Tensor:
    """Return min(x, limit) with the gradient of x. Any shape."""
    return x + (x.clamp(max=limit) - x).detach()
