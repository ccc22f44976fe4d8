"""Demonstrated actions as chunks: those of a tick and of the H - 1 ticks after it.

A chunk never crosses the end of an episode. Where fewer than H ticks are left, the last action is repeated: a
policy learns to end as its expert does, and every tick has a chunk.
"""

import torch
from torch import Tensor

from odeploy_sim.demonstrations.dataset import Demonstrations


def chunks(demonstrations: Demonstrations, horizon: int) -> Tensor:
    """Return the H actions from each tick on, in sequence. Shape (M, H · A)."""
    starts = torch.from_numpy(demonstrations.starts)
    lasts = torch.from_numpy(demonstrations.starts + demonstrations.lengths - 1)
    actions = torch.from_numpy(demonstrations.actions)
    tick = torch.arange(len(actions))
    last = lasts[torch.searchsorted(starts, tick, right=True) - 1]
    window = torch.minimum(tick[:, None] + torch.arange(horizon), last[:, None])
    return actions[window].flatten(1)
