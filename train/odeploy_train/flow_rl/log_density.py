"""Log-density of a flow's end, by the instantaneous change of variables.

As in Chen et al., arXiv 1806.07366:

    d log p(x_t) / dt = -div v(x_t, t),    so    log p(x_1) = log N(x_0; 0, I) - ∫_0^1 div v(x_t, t) dt

x_1 is carried back from t = 1 to t = 0 by K steps of a solver, and the integral with it by the same steps: with
Euler that is Σ_k dt div v at the points of the reverse path. The result approximates the density of the continuous
flow to the solver's order. It is not that of the map of K forward steps, which is a sum of log det(I + dt ∂v/∂x).
The two differ where dt ∂v/∂x is not small, so for few steps and a narrow flow.

The divergence is Σ_p e_p · (∂v/∂x) e_p over P probes: exact with the D unit vectors, Hutchinson's unbiased
estimate with random signs. ∂v/∂x e is carried through the network beside the values (forward mode): the
derivatives of ten steps need no graph within the graph, and D probes share all but the products with weights.
"""

import math

import torch
from torch import Tensor, nn

from odeploy_train.flow_rl.actor import FlowActor
from odeploy_train.modules.networks import silu_and_slope
from odeploy_train.modules.ode import integrate

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def log_density(actor: FlowActor, observation: Tensor, x1: Tensor, probes: Tensor) -> Tensor:
    """Return log p(x_1 | s) of an actor's flow by its own solver, run backwards.

    It is differentiable. Bounds cancel in a ratio: tanh and scale add the same to the density for all policies.

    Args:
        actor: actor with the flow.
        observation: normalised. Shape (M, O).
        x1: end of the flow. Shape (M, D).
        probes: Shape (M, P, D).

    Returns:
        Shape (M,).
    """
    net, how = actor.velocity, actor.sampling
    D, backwards = x1.shape[-1], how.t_grid[::-1]
    constants = iter(actor.first_layer(observation, actor.embed(backwards)))
    W_x, W_l = actor.first_weights()[1], net.last.weight
    hidden = [layer for layer in net.hidden if isinstance(layer, nn.Linear)]
    first_tangent, last_tangent = probes @ W_x.T, probes @ W_l  # the same at all times

    def field(_: float, state: Tensor) -> Tensor:
        z, dz = torch.addmm(next(constants), state[:, :D], W_x.T), first_tangent
        for layer in hidden:
            h, slope = silu_and_slope(z)
            z, dz = layer(h), (slope[:, None] * dz) @ layer.weight.T
        h, slope = silu_and_slope(z)
        divergence = (slope * (dz * last_tangent).sum(1)).sum(-1, keepdim=True)
        return how.output_scale * torch.cat([net.last(h), divergence], dim=-1)

    start = torch.cat([x1, x1.new_zeros(len(x1), 1)], dim=-1)
    end = integrate(field, start, how.tableau, backwards)
    return -0.5 * end[:, :D].square().sum(-1) - D * _HALF_LOG_2PI + end[:, D]
