"""A deterministic MLP with its normaliser and bounds: what PPO and its like deploy, here or in other libraries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.running_moments import moments

Activation = Literal["ELU", "GELU", "LeakyReLU", "ReLU", "SiLU", "Tanh"]


@dataclass(frozen=True)
class MlpConfig:
    """Sizes and stages of an `MlpPolicy`."""

    observation_size: int
    """O."""
    action_size: int
    """A."""
    widths: tuple[int, ...] = (64, 64)
    """Of the hidden layers."""
    activation: Activation = "Tanh"
    """Between each two layers, by torch's name."""
    normalised: bool = True
    """Whether mean, std and clip are applied to the observation."""
    clip: float | None = None
    """Of the normalised observation; None for none."""
    squash: bool = False
    """Whether tanh maps the output onto the limits; otherwise it is clipped to them."""
    horizon: int = 1
    """H, actions in sequence that answer one observation: a chunk."""

    @property
    def chunk_size(self) -> int:
        """D = H · A, the numbers that the network answers."""
        return self.horizon * self.action_size


class MlpPolicy(nn.Module):
    """Raw observations to actions in robot units, within [low, high].

    All numbers are kept in float64: normalisers are computed so, and float32 weights lose nothing.

    Attributes:
        config: sizes and stages.
        layers: linear ones; the activation stands between each two.
        observation_mean, observation_std: of the normaliser; without one, what `see` found, for the
            exporter's gate alone. Shape (O,).
        low, high: Shape (D,).
    """

    observation_mean: Tensor
    observation_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        O, D = config.observation_size, config.chunk_size  # noqa: E741
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((O, *config.widths, D)))
        self.activation: nn.Module = getattr(nn, config.activation)()
        self.register_buffer("observation_mean", torch.zeros(O))
        self.register_buffer("observation_std", torch.ones(O))
        self.register_buffer("low", torch.full((D,), -torch.inf))
        self.register_buffer("high", torch.full((D,), torch.inf))
        self.double().eval()

    @property
    def clip(self) -> float:
        """Of the normalised observation; infinite where there is none."""
        return math.inf if self.config.clip is None else self.config.clip

    def see(self, observations: Tensor) -> None:
        """Without a normaliser, takes the spread of these as that of its observations. Shape (M, O)."""
        if not self.config.normalised:
            self.observation_mean, self.observation_std = moments(observations.double())

    def normalise(self, observation: Tensor) -> Tensor:
        """Raw units to what the first layer takes. Shape (B, O)."""
        if not self.config.normalised:
            return observation
        return ((observation - self.observation_mean) / self.observation_std).clamp(-self.clip, self.clip)

    def forward(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, D)."""
        h = self.normalise(observation)
        *hidden, last = self.layers
        for layer in hidden:
            h = self.activation(layer(h))
        action: Tensor = last(h)
        if self.config.squash:
            action = self.low + (torch.tanh(action) + 1) / 2 * (self.high - self.low)
        return torch.clamp(action, self.low, self.high)


def limits(signals: Sequence[Signal]) -> tuple[Tensor, Tensor]:
    """Return the lower and upper limits of an action, in float64. Shapes (A,), (A,)."""
    return torch.from_numpy(lows(signals)).double(), torch.from_numpy(highs(signals)).double()
