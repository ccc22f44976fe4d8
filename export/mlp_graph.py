"""A student as a graph: the normaliser is folded into the first layer, the bounds follow the tanh."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from export.bounds import Bounds
from train.policies import StudentPolicy


class StudentGraph(nn.Module):
    """`observation` (B, O) to `action` (B, 1, A)."""

    def __init__(self, policy: StudentPolicy) -> None:
        super().__init__()
        layers = [*policy.net.hidden, policy.net.last]
        weights = [layer.weight.detach().double() for layer in layers]
        biases = [layer.bias.detach().double() for layer in layers]
        weights[0] = weights[0] / policy.observation_std.double()
        biases[0] = biases[0] - weights[0] @ policy.observation_mean.double()
        self.weight = nn.ParameterList(nn.Parameter(w.float(), requires_grad=False) for w in weights)
        self.bias = nn.ParameterList(nn.Parameter(b.float(), requires_grad=False) for b in biases)
        half_range, middle = (policy.high - policy.low) / 2, (policy.high + policy.low) / 2
        self._unit_scale = bool((half_range == 1).all() and (middle == 0).all())
        self.half_range, self.middle = (nn.Parameter(v, requires_grad=False) for v in (half_range, middle))
        self.bounds = Bounds(policy.low, policy.high)

    def forward(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, 1, A)."""
        h = observation
        for weight, bias in zip(self.weight, self.bias, strict=True):
            h = torch.tanh(linear(h, weight, bias))
        if not self._unit_scale:  # else tanh alone keeps the bounds
            h = self.bounds(h * self.half_range + self.middle)
        return h.unsqueeze(1)
