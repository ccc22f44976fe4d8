"""Best of N: a policy proposes N actions, two critics choose among them.

FMER (arXiv 2603.17685) samples several candidates from its flow policy and executes the one with the highest Q:

    a_i = flow(s, ε_i),    Q(s, a) = min(Q_1(s, a), Q_2(s, a)),    i* = argmax_i Q(s, a_i)

The critics see what the policy sees, the normalised observation, and actions in unit scale: half of each range is
1. If the noise is all zeros, all candidates are equal.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal
from odeploy_train.modules.networks import mlp
from odeploy_train.modules.ode import Tableau
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.policies.mlp import Activation

DEPLOYED_CANDIDATES = 16  # the exporter's default


@dataclass(frozen=True)
class Choice:
    """The best candidate.

    Attributes:
        action: robot units. Shape (B, D).
        value: its Q. Shape (B,).
        index: its position among the candidates. Shape (B,).
    """

    action: Tensor
    value: Tensor
    index: Tensor


class Chooser(nn.Module, ABC):
    """Policy that proposes candidates, with twin critics.

    Attributes:
        critics: Q_1 and Q_2, over [normalised observation, unit action].
    """

    critics: nn.ModuleList

    @property
    @abstractmethod
    def proposer(self) -> FlowPolicy | DiffusionPolicy:
        """The policy without critics; the critics share its normaliser and limits."""

    @property
    def observation_mean(self) -> Tensor:
        """Mean, or standard deviation, of the normaliser. Shape (O,)."""
        return self.proposer.observation_mean

    @property
    def observation_std(self) -> Tensor:
        """Mean, or standard deviation, of the normaliser. Shape (O,)."""
        return self.proposer.observation_std

    @property
    def clip(self) -> float:
        """Clip of the normalised observation; infinite without one."""
        return self.proposer.clip

    def to_unit(self, action: Tensor) -> Tensor:
        """Map [low, high] to [-1, 1]. Shape (B, D)."""
        low, high = self.proposer.low, self.proposer.high
        return (action - low) / ((high - low) / 2) - 1

    def value(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return min(Q_1, Q_2) of raw observations and actions in robot units.

        Shapes (B, O), (B, D) -> (B,).
        """
        seen = torch.cat([self.proposer.normalise(observation), self.to_unit(action)], dim=-1)
        first, second = (critic(seen)[:, 0] for critic in self.critics)
        return torch.minimum(first, second)


def best(actions: Tensor, values: Tensor) -> Choice:
    """Return the candidate with the highest value, the first among equals.

    Shapes (B, N, D), (B, N).
    """
    index = values.argmax(dim=1)
    rows = torch.arange(len(index))
    return Choice(actions[rows, index], values[rows, index], index)


@dataclass(frozen=True)
class BestOfNConfig:
    """Sizes of a `BestOfN`."""

    flow: FlowConfig
    """Sizes of the policy that proposes."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Neurons of each critic's hidden layers."""
    critic_activation: Activation = "ReLU"
    """Torch's name of the activation between a critic's layers."""
    critic_norm: bool = False
    """Whether a LayerNorm stands before each activation of the critics."""


class BestOfN(Chooser):
    """Flow policy with twin critics.

    Attributes:
        config: sizes.
        flow: proposes candidates; the critics share its normaliser and limits.
        critics: Q_1 and Q_2, over [normalised observation, unit action].
    """

    def __init__(self, config: BestOfNConfig) -> None:
        super().__init__()
        self.config, self.flow = config, FlowPolicy(config.flow)
        sizes = config.flow.observation_size + config.flow.chunk_size, *config.critic_widths, 1
        activation: type[nn.Module] = getattr(nn, config.critic_activation)
        self.critics = nn.ModuleList(mlp(sizes, activation, norm=config.critic_norm) for _ in range(2))

    def fit(self, observations: Tensor, actions: Tensor, signals: Sequence[Signal]) -> None:
        """Set normalisers and bounds; see `FlowPolicy.fit`.

        Raises:
            ContractError: an action without limits, which has no unit scale.
        """
        for signal in signals:
            if signal.low is None or signal.high is None:
                raise ContractError(
                    where=f"best of N, action {signal.name}",
                    expected="a lower and an upper limit",
                    got=f"[{signal.low}, {signal.high}]",
                    remedy="give the signal its limits in the catalogue",
                )
        self.flow.fit(observations, actions, signals)

    @property
    def proposer(self) -> FlowPolicy:
        """The policy without critics."""
        return self.flow

    def propose(
        self, observation: Tensor, noise: Tensor, tableau: Tableau, t_grid: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Return all candidates and their values.

        Args:
            observation: raw. Shape (B, O).
            noise: N draws per observation. Shape (B, N, D).
            tableau: the solver.
            t_grid: K + 1 times from 0 to 1.

        Returns:
            Actions in robot units, of shape (B, N, D), and values, of shape (B, N).
        """
        B, N, _ = noise.shape
        repeated = observation.repeat_interleave(N, dim=0)
        actions = self.flow.sample(repeated, noise.flatten(0, 1), tableau, t_grid)
        return actions.view(B, N, -1), self.value(repeated, actions).view(B, N)

    def sample(self, observation: Tensor, noise: Tensor, tableau: Tableau, t_grid: Sequence[float]) -> Choice:
        """Return the best candidate, the first among equals; see `propose`."""
        return best(*self.propose(observation, noise, tableau, t_grid))
