"""A flow policy: a learned velocity field with its normalisers, solver and bounds.

Observations come in raw units and actions leave in robot units. All numbers that a policy learns from data
or takes from its task are buffers, so a checkpoint and the config are enough to build it again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.ode import Field, Tableau, integrate
from odeploy_train.modules.running_moments import moments


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of a `FlowPolicy`."""

    observation_size: int
    """O."""
    action_size: int
    """A, of one action."""
    width: int = 256
    """Neurons of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    time_features: int = 16
    """E, of the time embedding."""
    clip: float | None = None
    """Of the normalised observation; None for none."""
    squash: bool = False
    """Whether tanh maps the flow's end, scaled, onto the limits; otherwise it is clipped to them."""
    horizon: int = 1
    """H, actions in sequence that answer one observation: a chunk."""

    @property
    def chunk_size(self) -> int:
        """D = H · A, the dimensions in which the flow moves."""
        return self.horizon * self.action_size


class FlowPolicy(nn.Module):
    """Noise becomes an action along a learnt velocity field that is conditioned on the observation.

    With a horizon of H, what is called an action here is a chunk: H actions in sequence, one after the other
    in D = H · A numbers.

    `action_mean` and `action_std` scale what the flow ends at: to robot units, or to what tanh takes.
    """

    observation_mean: Tensor
    observation_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        O, D = config.observation_size, config.chunk_size  # noqa: E741
        self.velocity = VelocityNet(O, D, config.width, config.depth, config.time_features)
        self.register_buffer("observation_mean", torch.zeros(O))
        self.register_buffer("observation_std", torch.ones(O))
        self.register_buffer("action_mean", torch.zeros(D))
        self.register_buffer("action_std", torch.ones(D))
        self.register_buffer("low", torch.full((D,), -torch.inf))
        self.register_buffer("high", torch.full((D,), torch.inf))

    def fit(self, observations: Tensor, actions: Tensor, signals: Sequence[Signal]) -> None:
        """Sets normalisers and bounds.

        Args:
            observations: raw. Shape (M, O).
            actions: robot units. Shape (M, D).
            signals: of one action.
        """
        chunk = tuple(signals) * self.config.horizon
        self.observation_mean, self.observation_std = moments(observations)
        self.action_mean, self.action_std = moments(actions)
        self.low, self.high = torch.from_numpy(lows(chunk)), torch.from_numpy(highs(chunk))

    @property
    def clip(self) -> float:
        """Of the normalised observation; infinite where there is none."""
        return math.inf if self.config.clip is None else self.config.clip

    def normalise(self, observation: Tensor) -> Tensor:
        """Raw units to unit scale, clipped. Shape (B, O)."""
        unit = (observation - self.observation_mean) / self.observation_std
        return unit if self.config.clip is None else unit.clamp(-self.clip, self.clip)

    def normalise_action(self, action: Tensor) -> Tensor:
        """Robot units to unit scale. Shape (B, D)."""
        return (action - self.action_mean) / self.action_std

    def field(self, normalised: Tensor) -> Field:
        """The velocity field that belongs to observations on unit scale, of shape (B, O)."""
        return lambda t, x: self.velocity(normalised, x, x.new_full((len(x),), t))

    def sample(self, observation: Tensor, noise: Tensor, tableau: Tableau, t_grid: Sequence[float]) -> Tensor:
        """Integrates noise to actions in robot units, within the bounds.

        Args:
            observation: raw. Shape (B, O).
            noise: N(0, I), or zeros for the flow's one deterministic answer. Shape (B, D).
            tableau: the solver.
            t_grid: its K + 1 times from 0 to 1.

        Returns:
            Shape (B, D).
        """
        x = integrate(self.field(self.normalise(observation)), noise, tableau, t_grid)
        return self.to_robot(x)

    def to_robot(self, x: Tensor) -> Tensor:
        """What the flow ends at, in robot units within the bounds. Shape (B, D)."""
        action = x * self.action_std + self.action_mean
        if self.config.squash:
            action = self.low + (torch.tanh(action) + 1) / 2 * (self.high - self.low)
        return torch.clamp(action, self.low, self.high)


def velocity_net(sizes: FlowConfig) -> VelocityNet:
    """The network of a policy of these sizes."""
    return VelocityNet(sizes.observation_size, sizes.action_size, sizes.width, sizes.depth, sizes.time_features)
