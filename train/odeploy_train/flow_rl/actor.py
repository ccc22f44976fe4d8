"""A flow as PPO's actor: how it acts. Its subclasses define how it learns.

A velocity v_θ(s, x, t) carries noise at t = 0 to x_1 at t = 1, and the action is the bounded x_1. Sampling and
bounds, with their inverse, are common to `flow_rl.fpo`, `flow_rl.dppo`, `flow_rl.fm_ppo` and `flow_rl.fm_a2c`.
Each adds what it needs of the old policy and what it minimises.

Solver and steps are those of rollouts; deployment may use others.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from odeploy_train.modules.networks import VelocityNet, time_embedding
from odeploy_train.modules.ode import Field, Tableau, evaluation_times, integrate
from odeploy_train.modules.squash import SATURATED
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.runs.learning_curve import Info


@dataclass(frozen=True)
class Sampling:
    """Sampler of a flow in rollouts."""

    tableau: Tableau
    """Solver."""
    t_grid: tuple[float, ...]
    """K + 1 times of the solver."""
    squash: bool = False
    """Whether unit actions are tanh of the scaled x; otherwise they are the scaled x, clipped by the
    environment."""
    output_scale: float = 1.0
    """Factor of the network's output: v_θ is the product."""
    perturbation: float = 0.0
    """Standard deviation of noise added to x_1; the policy learns from the noisy x_1."""


class FlowActor(nn.Module, ABC):
    """Actor that integrates noise to an action; see `on_policy.ppo.Actor`.

    Args:
        velocity: network; its scaled output is v_θ.
        sampling: sampler of rollouts.

    Attributes:
        scale, shift: the bounds apply to scale · x_1 + shift. Shape (D,).
        sampling_s: time in `act` so far [s], for the curves.
        follows_critic: whether it learns from a critic only; then critics learn from a rollout first.
    """

    follows_critic: ClassVar[bool] = False
    scale: Tensor
    shift: Tensor
    embedded: Tensor

    def __init__(self, velocity: VelocityNet, sampling: Sampling) -> None:
        super().__init__()
        self.velocity, self.sampling = velocity, sampling
        self.register_buffer("scale", torch.ones(velocity.action_size))
        self.register_buffer("shift", torch.zeros(velocity.action_size))
        self.register_buffer("embedded", self.embed(sampling.t_grid), False)
        self.sampling_s = 0.0

    @abstractmethod
    def remember(self, observation: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what the objective needs of the old policy.

        Shapes (M, O), (M, D) -> each (M, ...).
        """

    @abstractmethod
    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return the loss of a minibatch, and figures for the curves."""

    @torch.no_grad()
    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Sample a unit action. Shapes (N, O) -> (N, D)."""
        begun = perf_counter()
        shape = len(observation), self.velocity.action_size
        x = self.sample(observation, torch.randn(shape, generator=generator))
        if self.sampling.perturbation > 0:
            x += self.sampling.perturbation * torch.randn(shape, generator=generator)
        action = self.to_unit(x)
        self.sampling_s += perf_counter() - begun
        return action

    def sample(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Integrate noise to x_1, differentiable; zeros give one deterministic result.

        Weights are read in place, so no copy of them can be stale.

        Args:
            observation: normalised. Shape (N, O).
            noise: Shape (N, D).
        """

        def advance(x: Tensor, slope: Tensor, dt: float) -> Tensor:
            return torch.add(x, slope, alpha=dt * self.sampling.output_scale)

        return integrate(
            self.split_field(observation), noise, self.sampling.tableau, self.sampling.t_grid, advance
        )

    def split_field(self, observation: Tensor) -> Field:
        """Return the network's unscaled output along one pass over the grid.

        Each call is the next evaluation of the solver.

        Shape (N, O).
        """
        constants = iter(self.first_layer(observation, self.embedded))
        in_place = not torch.is_grad_enabled()  # a gradient needs what silu was given
        net, W_x = self.velocity, self.first_weights()[1]
        hidden = [(layer.bias, layer.weight.T) for layer in net.hidden if isinstance(layer, nn.Linear)]
        W_l, b_l = net.last.weight.T, net.last.bias

        def field(_: float, x: Tensor) -> Tensor:
            h = silu(torch.addmm(next(constants), x, W_x.T), inplace=in_place)
            for bias, weight in hidden:
                h = silu(torch.addmm(bias, h, weight), inplace=in_place)
            return torch.addmm(b_l, h, W_l)

        return field

    def velocities(self, observation: Tensor, inputs: Tensor) -> Tensor:
        """Return v_θ at N points per row, differentiable by the weights.

        Args:
            observation: normalised. Shape (M, O).
            inputs: [x, emb(t)] of each point. Shape (M, N, D + E).

        Returns:
            Shape (M, N, D).
        """
        net = self.velocity
        W, O = net.first.weight, net.observation_size  # noqa: E741
        h = silu(linear(inputs, W[:, O:]) + linear(observation, W[:, :O], net.first.bias)[:, None])
        for layer in net.hidden:
            h = silu(layer(h))
        velocities: Tensor = self.sampling.output_scale * net.last(h)
        return velocities

    def to_unit(self, x: Tensor) -> Tensor:
        """Map x_1 to the unit action, before any clip. Shape (N, D)."""
        unit = torch.addcmul(self.shift, x, self.scale)
        return unit.tanh_() if self.sampling.squash else unit

    def to_flow(self, action: Tensor) -> Tensor:
        """Map a unit action to x_1.

        Where tanh saturates in float32, |scale · x_1 + shift| is about 8.

        Shape (N, D).
        """
        if self.sampling.squash:
            action = action.clamp(-SATURATED, SATURATED).atanh()
        return (action - self.shift) / self.scale

    def embed(self, t_grid: Sequence[float]) -> Tensor:
        """Return embedded times of the solver's evaluations on a grid, in order.

        Shape (evaluations, E).
        """
        times = evaluation_times(self.sampling.tableau, t_grid)
        return time_embedding(self.scale.new_tensor(times), self.velocity.time_features)

    def first_layer(self, observation: Tensor, embedded: Tensor) -> tuple[Tensor, ...]:
        """Return what the first layer adds to W_x x at each of K times.

        The layer is linear over [s, x, emb(t)]. The observation's part is computed once and the times' parts in
        one product, so the solver's loop multiplies by x alone. Shapes (N, O), (K, E) -> K of (N, W).
        """
        W_o, _, W_t = self.first_weights()
        o = torch.addmm(self.velocity.first.bias, observation, W_o.T)
        return (o + (embedded @ W_t.T)[:, None]).unbind()

    def first_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first layer's weights of observation, x and embedded time."""
        net, W = self.velocity, self.velocity.first.weight
        O, D = net.observation_size, net.action_size  # noqa: E741
        return W[:, :O], W[:, O : O + D], W[:, O + D :]
