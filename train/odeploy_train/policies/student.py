"""A student policy: one pass through a small MLP, with its normaliser and bounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.networks import StudentNet
from odeploy_train.modules.running_moments import moments


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a `StudentPolicy`."""

    observation_size: int
    """Size O of the observation."""
    action_size: int
    """Size A of the action."""
    width: int = 256
    """Neurons per hidden layer."""
    depth: int = 2
    """Hidden layers."""


class UnitScalePolicy(nn.Module):
    """Normaliser and bounds around a network with inputs and outputs in unit scale."""

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
        """Set normaliser and bounds.

        Args:
            observations: raw. Shape (M, O).
            signals: signals of the action.

        Raises:
            ContractError: an action without limits, to which tanh cannot be mapped.
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
        """Map raw units to unit scale. Shape (..., O)."""
        return (observation - self.observation_mean) / self.observation_std

    def to_robot(self, unit: Tensor) -> Tensor:
        """Map (-1, 1) to [low, high]. Shape (..., A)."""
        robot = self.low + (unit + 1) * ((self.high - self.low) / 2)
        return torch.clamp(robot, self.low, self.high)  # rounding may pass a limit by its last bit

    def to_unit(self, action: Tensor) -> Tensor:
        """Map [low, high] to [-1, 1]. Shape (..., A)."""
        return (action - self.low) / ((self.high - self.low) / 2) - 1


class StudentPolicy(UnitScalePolicy):
    """Deterministic policy: one pass through a small MLP."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config.observation_size, config.action_size)
        self.net = StudentNet(config.observation_size, config.action_size, config.width, config.depth)

    def forward(self, observation: Tensor) -> Tensor:
        """Return actions in robot units, given raw observations. Shapes (B, O) -> (B, A)."""
        return self.to_robot(self.net(self.normalise(observation)))
