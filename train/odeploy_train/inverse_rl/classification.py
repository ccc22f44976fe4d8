"""Adversarial imitation: a discriminator tells the expert's ticks from the student's, its opinion is the reward.

All of them are trained on batches of both and differ in the score f, in its loss, and in the line that makes a
reward of it. Where f is a logit, D = sigmoid(f) is the probability that a tick is the expert's; at the optimum
f = log(ρ_E / ρ), the log-ratio of the two densities. GAIL's paper has D the other way round.

An episode that ends earns nothing more, so the sign of a reward says what an early end is worth:

- `positive`, -log(1 - D) > 0: every tick pays. Right where an early end is a fall; where it is success, a
  student that could finish dawdles instead.
- `negative`, log D < 0: every tick costs. A student would rather fall than walk badly.
- `logit`, log D - log(1 - D) = f: of either sign, negative while the discriminator wins; FM-IRL's comparison
  gives it to all methods, and adds 20 on hopper and walker2d.
- AIRL's f - log π and WAIL's critic have either sign too; WAIL's zero is arbitrary.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from odeploy_train.runs.learning_curve import Info

RewardForm = Literal["logit", "positive", "negative"]


@dataclass(frozen=True)
class Transitions:
    """Ticks of the expert or of the student, M of them.

    Attributes:
        observation: normalised. Shape (M, O).
        action: on unit scale, of the student as drawn: it may lie beyond ±1. Shape (M, A).
        following: the next observation, normalised; of no meaning where `ended`. Shape (M, O).
        ended: 1 where the task ended the episode, or where the next observation is not known. Shape (M,).
    """

    observation: Tensor
    action: Tensor
    following: Tensor
    ended: Tensor

    def __len__(self) -> int:
        return len(self.action)

    @property
    def pair(self) -> Tensor:
        """[s, a] with the action as executed: no expert ever leaves the limits.

        Shape (M, O + A).
        """
        return torch.cat([self.observation, self.action.clamp(-1, 1)], dim=-1)

    def take(self, index: Tensor) -> "Transitions":
        """Some of the rows."""
        return Transitions(self.observation[index], self.action[index], self.following[index], self.ended[index])


class Discriminator(Protocol):
    """What tells expert and student apart; also an `nn.Module`."""

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """What to minimise on a batch of each; `accuracy` is among the figures."""

    def reward(self, agent: Transitions, generator: torch.Generator) -> Tensor:
        """Shape (M,)."""


def classification(expert: Tensor, agent: Tensor) -> tuple[Tensor, Info]:
    """-E_expert[log D] - E_agent[log(1 - D)] of logits: GAIL, eq. 17, with our D.

    Shapes (M,), (M,).
    """
    return _mean(softplus(-expert)) + _mean(softplus(agent)), {"accuracy": accuracy(expert, agent)}


def accuracy(expert: Tensor, agent: Tensor) -> Tensor:
    """Share of ticks on the right side of 0, expert and agent weighing the same.

    Shapes (M,), (M,).
    """
    return (_mean((expert > 0).float()) + _mean((agent < 0).float())) / 2


def reward_of(logit: Tensor, form: RewardForm) -> Tensor:
    """The reward line; see the module for the signs."""
    match form:
        case "logit":
            return logit
        case "positive":
            return softplus(logit)
        case "negative":
            return -softplus(-logit)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)  # AIRL may find no tick with a successor in a batch's short rest
