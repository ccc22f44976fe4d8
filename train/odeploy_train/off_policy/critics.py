"""Twin critics Q_1 and Q_2 over normalised observations and unit actions.

Each is a ReLU MLP, with a LayerNorm before each activation if `norm`: it bounds what a critic says of actions that
it has not seen, and keeps it stable at high rates (RLPD, arXiv 2302.02948; BRO, arXiv 2405.16158).
"""

import torch
from torch import Tensor, nn

from odeploy_train.modules.networks import mlp


class TwinCritics(nn.Module):
    """Q_1 and Q_2 over [normalised observation, unit action].

    Args:
        observation_size: O.
        action_size: D.
        widths: neurons of the hidden layers.
        norm: whether a LayerNorm stands before each activation.
    """

    def __init__(
        self, observation_size: int, action_size: int, widths: tuple[int, ...], norm: bool = False
    ) -> None:
        super().__init__()
        sizes = observation_size + action_size, *widths, 1
        self.both = nn.ModuleList(mlp(sizes, nn.ReLU, norm=norm) for _ in range(2))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return both values. Shapes (..., O), (..., D) -> (2, ...)."""
        seen = torch.cat([observation, action], dim=-1)
        return torch.stack([critic(seen).squeeze(-1) for critic in self.both])

    def smaller(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return min(Q_1, Q_2). Shapes (..., O), (..., D) -> (...)."""
        return torch.minimum(*self(observation, action))

    def judge(self, observation: Tensor, candidates: Tensor) -> Tensor:
        """Return min(Q_1, Q_2) of M actions per state.

        Shapes (B, O), (B, M, D) -> (B, M).
        """
        return self.smaller(observation[:, None].expand(-1, candidates.shape[1], -1), candidates)
