"""Action limits as the last nodes of a graph."""

import torch
from torch import Tensor, nn


class Bounds(nn.Module):
    """Limits of (B, A), clipped by one scalar operator if all signals share them."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self._shared = bool((low == low[0]).all() and (high == high[0]).all())
        self._limits = low[0].item(), high[0].item()
        self.low, self.high = (nn.Parameter(limit.clone(), requires_grad=False) for limit in (low, high))

    def forward(self, action: Tensor) -> Tensor:
        """Shape (B, A)."""
        if self._shared:
            return torch.clamp(action, *self._limits)
        return torch.clamp(action, self.low, self.high)
