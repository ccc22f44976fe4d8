"""The tanh that maps a policy's unbounded answer onto unit actions, and what it does to densities."""

import math

from torch import Tensor
from torch.nn.functional import softplus

SATURATED = 1 - 2**-22
"""Largest unit action whose atanh is taken: atanh of 1 is infinite."""


def log_slope(u: Tensor) -> Tensor:
    """Σ_j log(1 - tanh² u_j), by which log-densities of u and of tanh(u) differ.

    Written as 2 (log 2 - u - softplus(-2u)), which is exact where 1 - tanh² has long been rounded to 0.

    Shapes (..., D) -> (...).
    """
    return 2 * (math.log(2) - u - softplus(-2 * u)).sum(-1)
