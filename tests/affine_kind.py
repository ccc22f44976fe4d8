"""A policy type of one file: its network, its graph and its row for the table."""

import math

import torch
from torch import Tensor, nn

from odeploy_export.kinds.deterministic import one_pass_reference
from odeploy_export.kinds.faults import without_normaliser
from odeploy_export.kinds.kind import Kind, traced


class AffinePolicy(nn.Module):
    """Affine policy a = clip(W (o - mean) / std + b, -1, 1)."""

    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, observation_size: int, action_size: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.last = nn.Linear(observation_size, action_size).requires_grad_(False)
        for parameter in self.last.parameters():
            parameter.normal_(0, 1 / math.sqrt(observation_size), generator=generator)
        self.register_buffer("observation_mean", torch.linspace(-1, 1, observation_size))
        self.register_buffer("observation_std", torch.linspace(0.5, 3, observation_size))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the actions. Shapes (B, O) -> (B, A)."""
        unit = (observation - self.observation_mean) / self.observation_std
        return torch.clamp(self.last(unit), -1, 1)


class AffineGraph(nn.Module):
    """Graph of the policy with the normaliser inside the weight. Shapes (B, O) -> (B, 1, A)."""

    def __init__(self, policy: AffinePolicy) -> None:
        super().__init__()
        weight = policy.last.weight / policy.observation_std
        self.weight = nn.Parameter(weight.T.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(policy.last.bias - weight @ policy.observation_mean, requires_grad=False)

    def forward(self, observation: Tensor) -> Tensor:
        return torch.clamp(torch.addmm(self.bias, observation, self.weight), -1, 1).unsqueeze(1)


AFFINE = Kind(
    name="affine",
    policy=AffinePolicy,
    manifest="mlp",
    graph=lambda deployment: traced(AffineGraph(deployment.policy), deployment),
    reference=one_pass_reference,
    faults=without_normaliser,
)
