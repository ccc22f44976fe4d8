"""Policies: a network with everything that stands between it and a robot: normalisers, solver, bounds.

Observations come in raw units and actions leave in robot units. All numbers that a policy learnt from data
or took from its task are buffers, so a checkpoint needs only the config to be built again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.networks import StudentNet, VelocityNet
from odeploy_train.modules.ode import Field, Tableau, integrate

# A signal that is constant in the demonstrations has std 0. Dividing by the floor instead keeps a deviation
# of a centimetre or a centiradian, which the network never saw, within one unit.
STD_FLOOR = 0.01


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


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a `StudentPolicy`."""

    observation_size: int
    """O."""
    action_size: int
    """A."""
    width: int = 256
    """Neurons of each hidden layer."""
    depth: int = 2
    """Hidden layers."""


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


class UnitScalePolicy(nn.Module):
    """What stands between a robot and a network that speaks unit scale: normaliser and bounds."""

    observation_mean: Tensor
    observation_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.register_buffer("observation_mean", torch.zeros(observation_size))
        self.register_buffer("observation_std", torch.ones(observation_size))
        self.register_buffer("low", -torch.ones(action_size))
        self.register_buffer("high", torch.ones(action_size))

    def fit(self, observations: Tensor, signals: Sequence[Signal]) -> None:
        """Sets normaliser and bounds.

        Args:
            observations: raw. Shape (M, O).
            signals: of the action.

        Raises:
            ContractError: an action without limits, onto which tanh cannot be mapped.
        """
        for signal in signals:
            if signal.low is None or signal.high is None:
                raise ContractError(
                    where=f"student, action {signal.name}",
                    expected="a lower and an upper limit",
                    got=f"[{signal.low}, {signal.high}]",
                    remedy="give the signal its limits in the catalogue, or deploy the teacher",
                )
        self.observation_mean, self.observation_std = moments(observations)
        self.low, self.high = torch.from_numpy(lows(signals)), torch.from_numpy(highs(signals))

    def normalise(self, observation: Tensor) -> Tensor:
        """Raw units to unit scale. Shape (..., O)."""
        return (observation - self.observation_mean) / self.observation_std

    def to_robot(self, unit: Tensor) -> Tensor:
        """(-1, 1) to [low, high]. Shape (..., A)."""
        robot = self.low + (unit + 1) * ((self.high - self.low) / 2)
        return torch.clamp(robot, self.low, self.high)  # rounding may pass a limit by its last bit

    def to_unit(self, action: Tensor) -> Tensor:
        """[low, high] to [-1, 1]. Shape (..., A)."""
        return (action - self.low) / ((self.high - self.low) / 2) - 1


class StudentPolicy(UnitScalePolicy):
    """One pass through a small MLP; deterministic."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config.observation_size, config.action_size)
        self.net = StudentNet(config.observation_size, config.action_size, config.width, config.depth)

    def forward(self, observation: Tensor) -> Tensor:
        """Raw observations to actions in robot units. Shapes (B, O) -> (B, A)."""
        return self.to_robot(self.net(self.normalise(observation)))


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored standard deviation of each column, summed in float64. Shapes (M, S) -> (S,), (S,)."""
    wide = values.double()
    std = wide.std(dim=0, correction=0).clamp(min=STD_FLOOR)
    return wide.mean(dim=0).to(values.dtype), std.to(values.dtype)
