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
    """Size O of the observation."""
    action_size: int
    """Size A of one action."""
    width: int = 256
    """Neurons per hidden layer."""
    depth: int = 3
    """Hidden layers."""
    time_features: int = 16
    """Features E of the time embedding."""
    clip: float | None = None
    """Clip of the normalised observation; None for no clip."""
    squash: bool = False
    """Whether tanh maps the scaled end of the flow to the limits; otherwise it is clipped to them."""
    horizon: int = 1
    """Actions H per observation: the length of a chunk."""

    @property
    def chunk_size(self) -> int:
        """Dimensions D = H · A of the flow."""
        return self.horizon * self.action_size


class FlowPolicy(nn.Module):
    """Policy that integrates noise to an action along a learned velocity field.

    With a horizon H, "action" means a chunk here: H actions in sequence, D = H · A numbers.

    `action_mean` and `action_std` scale the end of the flow: to robot units, or to the argument of tanh.
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
        """Set normalisers and bounds.

        Args:
            observations: raw. Shape (M, O).
            actions: in robot units. Shape (M, D).
            signals: signals of one action.
        """
        chunk = tuple(signals) * self.config.horizon
        self.observation_mean, self.observation_std = moments(observations)
        self.action_mean, self.action_std = moments(actions)
        self.low, self.high = torch.from_numpy(lows(chunk)), torch.from_numpy(highs(chunk))

    @property
    def clip(self) -> float:
        """Clip of the normalised observation; infinite without one."""
        return math.inf if self.config.clip is None else self.config.clip

    def normalise(self, observation: Tensor) -> Tensor:
        """Map raw units to unit scale, clipped. Shape (B, O)."""
        unit = (observation - self.observation_mean) / self.observation_std
        return unit if self.config.clip is None else unit.clamp(-self.clip, self.clip)

    def normalise_action(self, action: Tensor) -> Tensor:
        """Map robot units to unit scale. Shape (B, D)."""
        return (action - self.action_mean) / self.action_std

    def field(self, normalised: Tensor) -> Field:
        """Return the velocity field of normalised observations. Shape (B, O)."""
        return lambda t, x: self.velocity(normalised, x, x.new_full((len(x),), t))

    def sample(self, observation: Tensor, noise: Tensor, tableau: Tableau, t_grid: Sequence[float]) -> Tensor:
        """Integrate noise to actions in robot units, within the bounds.

        Args:
            observation: raw. Shape (B, O).
            noise: N(0, I), or zeros for one deterministic action. Shape (B, D).
            tableau: solver.
            t_grid: K + 1 times from 0 to 1.

        Returns:
            Shape (B, D).
        """
        x = integrate(self.field(self.normalise(observation)), noise, tableau, t_grid)
        return self.to_robot(x)

    def to_robot(self, x: Tensor) -> Tensor:
        """Map the end of the flow to robot units, within the bounds. Shape (B, D)."""
        action = x * self.action_std + self.action_mean
        if self.config.squash:
            action = self.low + (torch.tanh(action) + 1) / 2 * (self.high - self.low)
        return torch.clamp(action, self.low, self.high)


def velocity_net(sizes: FlowConfig) -> VelocityNet:
    """Return the network of a policy of these sizes, with fresh weights."""
    return VelocityNet(sizes.observation_size, sizes.action_size, sizes.width, sizes.depth, sizes.time_features)
