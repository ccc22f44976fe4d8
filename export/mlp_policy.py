"""A deterministic MLP as other libraries train it, in plain torch: what its exported graph is held against."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.normaliser import Normaliser
from train.policies import moments


class MlpPolicy(nn.Module):
    """Raw observations to actions in robot units, within [low, high].

    All numbers are kept in float64: normalisers are computed so, and float32 weights lose nothing.

    Attributes:
        layers: linear ones; an activation stands between each two.
        activation: the module between them.
        normalised: whether mean, std and clip are applied to the observation.
        observation_mean, observation_std: of the normaliser; without one, what `see` found, for the gate
            alone. Shape (O,).
        clip: of the normalised observation; infinite where there is none.
        squash: whether tanh maps the output onto [low, high]; otherwise it is clipped to them.
        low, high: Shape (A,).
    """

    observation_mean: Tensor
    observation_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        activation: nn.Module,
        normaliser: Normaliser | None,
        squash: bool,
        low: Tensor,
        high: Tensor,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in layers)
        self.activation = activation
        self.normalised, self.squash = normaliser is not None, squash
        size = layers[0].in_features
        self.clip = torch.inf if normaliser is None else normaliser.clip
        mean = torch.zeros(size) if normaliser is None else torch.from_numpy(normaliser.mean)
        std = torch.ones(size) if normaliser is None else torch.from_numpy(normaliser.std)
        for name, values in (("observation_mean", mean), ("observation_std", std), ("low", low), ("high", high)):
            self.register_buffer(name, values.clone())
        self.double().eval()

    def see(self, observations: Tensor) -> None:
        """Without a normaliser, takes the spread of these as that of its observations. Shape (M, O)."""
        if not self.normalised:
            self.observation_mean, self.observation_std = moments(observations.double())

    def forward(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, A)."""
        h = observation
        if self.normalised:
            h = ((h - self.observation_mean) / self.observation_std).clamp(-self.clip, self.clip)
        *hidden, last = self.layers
        for layer in hidden:
            h = self.activation(layer(h))
        action: Tensor = last(h)
        if self.squash:
            action = self.low + (torch.tanh(action) + 1) / 2 * (self.high - self.low)
        return torch.clamp(action, self.low, self.high)
