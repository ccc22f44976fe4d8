"""Real-time chunking: the next chunk of a flow continues the present one.

Black et al., arXiv 2506.07339, Algorithm 1: inpainting by pseudoinverse guidance. Y are the actions of the
previous chunk, w the weight of each (runtime/odeploy_runtime/inference/previous_chunk.py); all in unit scale:

    x̂_1 = x + (1 - t) v(x, t)                                            where the flow would end from here
    v'  = v + min(β, (t² + (1 - t)²) / (t (1 - t))) · (∂x̂_1/∂x)ᵀ w (Y - x̂_1)

With w = 0 this is the flow itself. One thing is ours: where w = 1 the result is Y to the last bit, because these
actions are executed before it arrives; guidance alone only comes close to them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from odeploy_train.modules.ode import Tableau, integrate
from odeploy_train.policies.flow import FlowPolicy

STRONGEST = 5.0
"""β, as published."""


def strength(t: float) -> float:
    """Return the factor of the guidance at flow time t, from 0 to 1."""
    inverse = t * (1 - t)
    return STRONGEST if inverse <= 0 else min(STRONGEST, (t * t + (1 - t) ** 2) / inverse)


def guided_sample(
    policy: FlowPolicy,
    observation: Tensor,
    noise: Tensor,
    previous: Tensor,
    frozen: Tensor,
    tableau: Tableau,
    t_grid: Sequence[float],
) -> Tensor:
    """Sample like `FlowPolicy.sample`, continuing a previous chunk.

    Args:
        policy: flow of chunks without squash.
        observation: raw. Shape (B, O).
        noise: Shape (B, D).
        previous: actions to agree with, in robot units. Shape (B, D).
        frozen: weight of each action, from 0 to 1. Shape (B, H).
        tableau: the solver.
        t_grid: K + 1 times from 0 to 1.

    Returns:
        Actions in robot units, within the bounds. Shape (B, D).
    """
    velocity = policy.field(policy.normalise(observation))
    wanted, weight = policy.normalise_action(previous), frozen.repeat_interleave(policy.config.action_size, dim=1)

    def field(t: float, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            v = velocity(t, x)
            end = x + (1 - t) * v
            (pull,) = torch.autograd.grad(end, x, (weight * (wanted - end)).detach())
        return v.detach() + strength(t) * pull

    actions = policy.to_robot(integrate(field, noise, tableau, t_grid))
    return torch.where(weight == 1, torch.clamp(previous, policy.low, policy.high), actions)
