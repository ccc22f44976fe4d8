"""The tanh from unbounded outputs to unit actions, and its effect on densities."""

import math

from torch import Tensor
from torch.nn.functional import softplus

SATURATED = 1 - 2**-22
"""Largest unit action whose atanh is taken: atanh of 1 is infinite."""


def log_slope(u: Tensor) -> Tensor:
    """Return Σ_j log(1 - tanh² u_j), the log-density of u minus that of tanh(u).

    Computed as 2 (log 2 - u - softplus(-2u)), which is exact even where 1 - tanh² is rounded to 0.

    Shapes (..., D) -> (...).
    """
    return 2 * (math.log(2) - u - softplus(-2 * u)).sum(-1)
