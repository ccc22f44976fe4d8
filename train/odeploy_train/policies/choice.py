"""Choosing among a policy's own candidates by twin critics: what FMER, QVPO and DPMD share when they are deployed.

    Q(s, a) = min(Q_1(s, a), Q_2(s, a)),    i* = argmax_i Q(s, a_i)

The critics see what the proposing policy sees, the normalised observation, and actions on unit scale: half of each
range is 1.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.policies import FlowPolicy


@dataclass(frozen=True)
class Choice:
    """The best of the candidates.

    Attributes:
        action: robot units. Shape (B, D).
        value: its Q. Shape (B,).
        index: its place among the candidates. Shape (B,).
    """

    action: Tensor
    value: Tensor
    index: Tensor


class Chooser(nn.Module, ABC):
    """A policy that proposes, with twin critics.

    Attributes:
        critics: Q_1 and Q_2, over [normalised observation, unit action].
    """

    critics: nn.ModuleList

    @property
    @abstractmethod
    def proposer(self) -> FlowPolicy | DiffusionPolicy:
        """The policy without its critics; its normaliser and limits are theirs too."""

    @property
    def observation_mean(self) -> Tensor:
        """Of the normaliser. Shape (O,)."""
        return self.proposer.observation_mean

    @property
    def observation_std(self) -> Tensor:
        """Of the normaliser. Shape (O,)."""
        return self.proposer.observation_std

    @property
    def clip(self) -> float:
        """Of the normalised observation; infinite where there is none."""
        return self.proposer.clip

    def to_unit(self, action: Tensor) -> Tensor:
        """[low, high] to [-1, 1]. Shape (B, D)."""
        low, high = self.proposer.low, self.proposer.high
        return (action - low) / ((high - low) / 2) - 1

    def value(self, observation: Tensor, action: Tensor) -> Tensor:
        """min(Q_1, Q_2) of raw observations and actions in robot units. Shapes (B, O), (B, D) -> (B,)."""
        seen = torch.cat([self.proposer.normalise(observation), self.to_unit(action)], dim=-1)
        first, second = (critic(seen)[:, 0] for critic in self.critics)
        return torch.minimum(first, second)


def best(actions: Tensor, values: Tensor) -> Choice:
    """The candidate of the highest value, of equally good ones the first. Shapes (B, N, D), (B, N)."""
    index = values.argmax(dim=1)
    rows = torch.arange(len(index))
    return Choice(actions[rows, index], values[rows, index], index)
