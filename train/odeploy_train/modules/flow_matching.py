"""Flow matching on the straight path, as in FM-IRL's FP (arXiv 2510.09222).

    x_t = (1 - t) x_0 + t x_1,    target velocity  x_1 - x_0,    x_0 ~ N(0, I),    t ~ U[0, 1)

t = 0 is noise, t = 1 is the action. FPO's playground code runs time the other way: a field trained there has
the opposite sign here.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]


def straight_path(x0: Tensor, x1: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point at t on the line from noise to action, and its velocity.

    Args:
        x0: noise. Shape (B, D).
        x1: action in unit scale. Shape (B, D).
        t: Shape (B,).

    Returns:
        x_t and x_1 - x_0, each of shape (B, D).
    """
    t = t[:, None]
    return (1 - t) * x0 + t * x1, x1 - x0


def flow_matching_loss(velocity: Velocity, observation: Tensor, x1: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean of (v(observation, x_t, t) - (x_1 - x_0))².

    The mean is over rows and dimensions; each row has one draw of (x_0, t).

    Args:
        velocity: (observation, x, t) -> velocity, such as a `VelocityNet`.
        observation: normalised. Shape (B, O).
        x1: action in unit scale. Shape (B, D).
        generator: draws x_0, then t.
    """
    x0 = torch.randn(x1.shape, generator=generator, dtype=x1.dtype)
    t = torch.rand(len(x1), generator=generator, dtype=x1.dtype)
    x_t, target = straight_path(x0, x1, t)
    return (velocity(observation, x_t, t) - target).square().mean()
