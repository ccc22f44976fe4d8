"""Demonstrated actions as chunks: what an expert did at a tick and at the H - 1 ticks that followed.

A chunk never runs from one episode into the next: where fewer than H ticks are left, the episode's last action
is repeated. So a policy learns to end as its expert did, and every tick of the demonstrations has a chunk.
"""

import torch
from torch import Tensor

from odeploy_sim.demonstrations.dataset import Demonstrations


def chunks(demonstrations: Demonstrations, horizon: int) -> Tensor:
    """The H actions from each tick on, one after the other. Shape (M, H · A)."""
    starts = torch.from_numpy(demonstrations.starts)
    lasts = torch.from_numpy(demonstrations.starts + demonstrations.lengths - 1)
    actions = torch.from_numpy(demonstrations.actions)
    tick = torch.arange(len(actions))
    last = lasts[torch.searchsorted(starts, tick, right=True) - 1]
    window = torch.minimum(tick[:, None] + torch.arange(horizon), last[:, None])
    return actions[window].flatten(1)
