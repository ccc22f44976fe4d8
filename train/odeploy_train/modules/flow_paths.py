"""Paths of a flow from noise to actions, and the Jacobian of its velocity.

A path is a constant: K Euler steps without a gradient. Differentiable are the velocity and its Jacobian ∂v/∂x at
its points. The Jacobian is carried through the network beside the values, one row per dimension: a gradient of it
needs no graph within the graph.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from odeploy_train.modules.networks import VelocityNet, over_states, silu_and_slope, time_embedding
from odeploy_train.modules.ode import EULER, axpy, integrate, uniform_grid


@dataclass(frozen=True)
class Path:
    """M paths for each of B states.

    Attributes:
        times: times t_k = k / K of the velocity's evaluations. Shape (K,).
        states: x at these times; the first is the noise. Shape (K, B, M, D).
        end: the ends u at t = 1. Shape (B, M, D).
    """

    times: Tensor
    states: Tensor
    end: Tensor


@torch.no_grad()
def solve(velocity: VelocityNet, observation: Tensor, noise: Tensor, steps: int) -> Path:
    """Integrate noise along the flow.

    Args:
        velocity: v(s, x, t).
        observation: normalised. Shape (B, O).
        noise: Shape (B, M, D).
        steps: K.
    """
    B, M, D = noise.shape
    grid = uniform_grid(steps)
    answer = over_states(velocity, observation, M, grid[:-1])
    states: list[Tensor] = []

    def field(t: float, x: Tensor) -> Tensor:
        states.append(x)
        return answer(t, x)

    end = integrate(field, noise.flatten(0, 1), EULER, grid, axpy)
    return Path(noise.new_tensor(grid[:-1]), torch.stack(states).view(steps, B, M, D), end.view(B, M, D))


def velocity_and_jacobian(
    velocity: VelocityNet, observation: Tensor, x: Tensor, t: Tensor
) -> tuple[Tensor, Tensor]:
    """Return v(s, x, t) and ∂v/∂x, both differentiable by the weights.

    Args:
        velocity: v.
        observation: normalised. Shape (R, O).
        x: Shape (R, D).
        t: Shape (R,).

    Returns:
        Shapes (R, D), (R, D, D); row j of the second is the derivative by x_j.
    """
    O, D = velocity.observation_size, velocity.action_size  # noqa: E741
    z = velocity.first(torch.cat([observation, x, time_embedding(t, velocity.time_features)], dim=-1))
    dz = velocity.first.weight[:, O : O + D].T
    for layer in velocity.hidden:
        h, slope = silu_and_slope(z)
        z, dz = layer(h), (slope[:, None] * dz) @ layer.weight.T  # type: ignore[operator]
    h, slope = silu_and_slope(z)
    return velocity.last(h), (slope[:, None] * dz) @ velocity.last.weight.T


def sign_probes(x1: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw random signs (Rademacher), scaled so that their sum is a mean.

    Shapes (M, D) -> (M, count, D).
    """
    M, D = x1.shape
    signs = 2 * torch.randint(2, (M, count, D), generator=generator) - 1
    return signs.to(x1.dtype) / math.sqrt(count)


def unit_probes(x1: Tensor) -> Tensor:
    """Return all unit vectors, which make the trace exact. Shapes (M, D) -> (M, D, D)."""
    return torch.eye(x1.shape[-1], dtype=x1.dtype).expand(len(x1), -1, -1)
