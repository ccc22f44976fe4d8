"""Weights of a graph: float32 constants and the linear layers behind them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def constant(values: Tensor) -> nn.Parameter:
    """Return values as a contiguous float32 constant of a traced graph."""
    return nn.Parameter(values.to(torch.float32).contiguous(), requires_grad=False)


def linears(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """Return the linear layers, in order."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]
