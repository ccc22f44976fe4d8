"""Adversarial imitation: a discriminator's score of a tick is the reward.

The discriminator separates ticks of the expert from those of the student. Methods differ in the score f, in its
loss, and in the reward form. Where f is a logit, D = sigmoid(f) is the probability that a tick is the expert's. At
the optimum f = log(ρ_E / ρ), the log-ratio of the two densities. GAIL's paper has D the other way round.

An ended episode earns nothing more, so the sign of a reward determines the value of an early end:

- `positive`, -log(1 - D) > 0: every tick pays. Right where an early end is a fall. Where it is success, a student
  that could finish delays instead.
- `negative`, log D < 0: every tick costs. A student would rather fall than walk badly.
- `logit`, log D - log(1 - D) = f: of either sign, negative while the discriminator wins. FM-IRL's comparison uses
it
  for all methods, and adds 20 on hopper and walker2d.
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
    """M ticks of the expert or of the student.

    Attributes:
        observation: normalised. Shape (M, O).
        action: in unit scale; the student's as sampled, which may lie beyond ±1. Shape (M, A).
        following: next observation, normalised; undefined where `ended`. Shape (M, O).
        ended: 1 where the task ended the episode, or where the next observation is unknown. Shape (M,).
    """

    observation: Tensor
    action: Tensor
    following: Tensor
    ended: Tensor

    def __len__(self) -> int:
        return len(self.action)

    @property
    def pair(self) -> Tensor:
        """[s, a] with the action as executed, within the limits.

        Shape (M, O + A).
        """
        return torch.cat([self.observation, self.action.clamp(-1, 1)], dim=-1)

    def take(self, index: Tensor) -> "Transitions":
        """Return some of the rows."""
        return Transitions(self.observation[index], self.action[index], self.following[index], self.ended[index])


class Discriminator(Protocol):
    """Classifier of expert and student; also an `nn.Module`."""

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the loss on a batch of each, and figures with `accuracy` among them."""

    def reward(self, agent: Transitions, generator: torch.Generator) -> Tensor:
        """Return the reward of each tick. Shape (M,)."""


def classification(expert: Tensor, agent: Tensor) -> tuple[Tensor, Info]:
    """Return -E_expert[log D] - E_agent[log(1 - D)] of logits: GAIL, eq. 17, our D.

    Shapes (M,), (M,).
    """
    return _mean(softplus(-expert)) + _mean(softplus(agent)), {"accuracy": accuracy(expert, agent)}


def accuracy(expert: Tensor, agent: Tensor) -> Tensor:
    """Return the share of ticks on the right side of 0, with equal weight of both.

    Shapes (M,), (M,).
    """
    return (_mean((expert > 0).float()) + _mean((agent < 0).float())) / 2


def reward_of(logit: Tensor, form: RewardForm) -> Tensor:
    """Return the reward of a form; the module describes the signs."""
    match form:
        case "logit":
            return logit
        case "positive":
            return softplus(logit)
        case "negative":
            return -softplus(-logit)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)  # AIRL may find no tick with a successor in a short last batch
