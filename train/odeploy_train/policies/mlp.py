"""A deterministic MLP with its normaliser and bounds: PPO's deployed policy."""

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
    """Size O of the observation."""
    action_size: int
    """Size A of one action."""
    widths: tuple[int, ...] = (64, 64)
    """Neurons of the hidden layers."""
    activation: Activation = "Tanh"
    """Torch's name of the activation between layers."""
    normalised: bool = True
    """Whether the observation is normalised and clipped."""
    clip: float | None = None
    """Clip of the normalised observation; None for no clip."""
    squash: bool = False
    """Whether tanh maps the output to the limits; otherwise it is clipped to them."""
    horizon: int = 1
    """Actions H per observation: the length of a chunk."""

    @property
    def chunk_size(self) -> int:
        """Outputs D = H · A of the network."""
        return self.horizon * self.action_size


class MlpPolicy(nn.Module):
    """MLP from raw observations to actions in robot units, within [low, high].

    All numbers are float64: normalisers are computed so, and float32 weights lose nothing.

    Attributes:
        config: sizes and stages.
        layers: linear layers, with the activation between them.
        observation_mean, observation_std: normaliser. Without one, they hold what `see` found, for the
            exporter's parity check alone. Shape (O,).
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
        """Clip of the normalised observation; infinite without one."""
        return math.inf if self.config.clip is None else self.config.clip

    def see(self, observations: Tensor) -> None:
        """Without a normaliser, store the moments of these observations. Shape (M, O)."""
        if not self.config.normalised:
            self.observation_mean, self.observation_std = moments(observations.double())

    def normalise(self, observation: Tensor) -> Tensor:
        """Map raw units to the input of the first layer. Shape (B, O)."""
        if not self.config.normalised:
            return observation
        return ((observation - self.observation_mean) / self.observation_std).clamp(-self.clip, self.clip)

    def forward(self, observation: Tensor) -> Tensor:
        """Return actions in robot units. Shapes (B, O) -> (B, D)."""
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
