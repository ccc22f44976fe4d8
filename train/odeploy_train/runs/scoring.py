"""Scores of the deployed policy while a learner explores, and which of the scored policies is kept."""

from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from odeploy_train.policies.kinds import Policy
from odeploy_train.runs.best_policy import Keep, Kept
from odeploy_train.runs.rollouts import Episodes, Rollouts

_SEED = 2**42


class ScoreOptions(Protocol):
    """What every verb that scores on the way has among its options."""

    @property
    def score_every(self) -> int:
        """Environment steps between two scores."""

    @property
    def score_episodes(self) -> int:
        """Episodes of a score; 0 for none."""

    @property
    def keep(self) -> Keep:
        """Which policy is deployed."""


@dataclass(frozen=True)
class Scorer:
    """Scores policies over the same episodes, and tells curves, console and `kept`."""

    options: ScoreOptions
    rollouts: Rollouts
    kept: Kept
    curves: SummaryWriter
    console: Console

    def score(self, policy: Policy, step: int) -> None:
        """Plays the policy of that step of the environments, unless no scores are wanted."""
        if self.options.score_episodes <= 0:
            return
        task, score = self.rollouts.task, evaluate(policy, self.rollouts, self.options.score_episodes)
        if self.options.keep == "best":
            self.kept.offer(policy, score, task, step)
        self.curves.add_scalar("score/return", score.returns.mean(), step)
        self.curves.add_scalar("score/success", score.successes.mean(), step)
        self.console.print(f"{step:>10,} steps: {score.score(task)}", highlight=False)


def evaluate(policy: Policy, rollouts: Rollouts, episodes: int) -> Episodes:
    """The deterministic policy over episodes that training never sees."""

    def act(observation: Tensor) -> Tensor:
        action: Tensor = policy(observation.double())
        return action.float()

    return rollouts.play(act, _SEED, episodes)
