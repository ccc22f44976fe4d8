"""An MLP as a graph, with its normaliser and limits.

The normaliser is folded into the first layer if possible. Tanh or limits come last.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from odeploy_export.graphs.bounds import Bounds
from odeploy_export.graphs.weights import constant, linears
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.policies.student import StudentPolicy


class MlpGraph(nn.Module):
    """Graph from `observation` (B, O) to `action` (B, H, A)."""

    def __init__(self, policy: MlpPolicy) -> None:
        super().__init__()
        layers = linears(policy.layers)
        weights, biases = [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]
        self._horizon, self._action_size = policy.config.horizon, policy.config.action_size
        self._clip = policy.clip
        self._clips = policy.config.normalised and math.isfinite(policy.clip)
        if self._clips:  # the clip lies between normaliser and first layer
            self.mean, self.scale = constant(policy.observation_mean), constant(1 / policy.observation_std)
        elif policy.config.normalised:
            weights[0] = weights[0] / policy.observation_std
            biases[0] = biases[0] - weights[0] @ policy.observation_mean
        self.weight = nn.ParameterList(constant(w) for w in weights)
        self.bias = nn.ParameterList(constant(b) for b in biases)
        self.activation = policy.activation
        self._squash = policy.config.squash
        half_range, middle = (policy.high - policy.low) / 2, (policy.high + policy.low) / 2
        self._unit_scale = bool((half_range == 1).all() and (middle == 0).all())
        self.half_range, self.middle = constant(half_range), constant(middle)
        self.bounds = Bounds(policy.low.float(), policy.high.float())

    def forward(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, H, A)."""
        h = observation
        if self._clips:
            h = torch.clamp((h - self.mean) * self.scale, -self._clip, self._clip)
        last = len(self.weight) - 1
        for i, (weight, bias) in enumerate(zip(self.weight, self.bias, strict=True)):
            h = linear(h, weight, bias)
            if i < last:
                h = self.activation(h)
        if self._squash:
            h = torch.tanh(h)
            if not self._unit_scale:
                h = h * self.half_range + self.middle
        if not (self._squash and self._unit_scale):  # else tanh alone keeps the bounds
            h = self.bounds(h)
        return h.reshape(-1, self._horizon, self._action_size)


class StudentGraph(MlpGraph):
    """Graph of a student: tanh throughout, and a normaliser without a clip."""

    def __init__(self, policy: StudentPolicy) -> None:
        layers = linears((*policy.net.hidden, policy.net.last))
        widths = tuple(layer.out_features for layer in layers[:-1])
        same = MlpPolicy(MlpConfig(layers[0].in_features, layers[-1].out_features, widths, squash=True))
        for mine, its in zip(same.layers, layers, strict=True):
            mine.load_state_dict(its.state_dict())
        for name in ("observation_mean", "observation_std", "low", "high"):
            setattr(same, name, getattr(policy, name).double())
        super().__init__(same)
