"""Scores of the deployed policy during training, and the best policy.

The maximum of a few noisy scores is biased upward. Score the selected policy on fresh episodes: `odeploy score`
and sweeps do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from odeploy_sim.tasks.seeds import PROGRESS
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import Policy
from odeploy_train.runs.checkpoint import LAST
from odeploy_train.runs.options import Keep
from odeploy_train.runs.rollouts import Episodes, Rollouts


@dataclass
class Kept:
    """The best policy so far.

    Attributes:
        worth: mean success where the task is scored by success, else 0; then the mean return.
        step: step at which it was scored.
        policy: its weights; None before the first score.
    """

    worth: tuple[float, float] = (-math.inf, -math.inf)
    step: int = 0
    policy: dict[str, Any] | None = None

    def offer(self, policy: Policy, score: Episodes, task: Task, step: int) -> None:
        """Keep a copy of a policy that is at least as good as the kept one."""
        success = float(score.successes.mean()) if task.scored_by == "success" else 0.0
        worth = success, float(score.returns.mean())
        if worth >= self.worth:
            weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
            self.worth, self.step, self.policy = worth, step, weights

    def checkpoint(self, deploy: Callable[[], Policy]) -> dict[str, Any]:
        """Return the checkpoint's weights of the deployed and of the last policy.

        The last one has an entry only if another is kept.

        Args:
            deploy: returns the policy of this moment.
        """
        last = deploy().state_dict()
        deployed = {"policy": last} if self.policy is None else {"policy": self.policy, LAST: last}
        return {**deployed, "kept": self.state()}

    def state(self) -> dict[str, Any]:
        """Return what `resume` restores."""
        return {"worth": self.worth, "step": self.step, "policy": self.policy}

    def resume(self, saved: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.worth, self.step, self.policy = tuple(saved["worth"]), saved["step"], saved["policy"]


@dataclass(frozen=True)
class Scorer:
    """Scorer on fixed episodes; writes to the curves, the console and `kept`."""

    episodes: int
    """Episodes per score; 0 for no scores."""
    keep: Keep
    rollouts: Rollouts
    kept: Kept
    curves: SummaryWriter
    console: Console

    def score(self, policy: Policy, step: int) -> None:
        """Score the policy of an environment step, unless scores are off."""
        if self.episodes <= 0:
            return
        task, score = self.rollouts.task, evaluate(policy, self.rollouts, self.episodes)
        if self.keep == "best":
            self.kept.offer(policy, score, task, step)
        self.curves.add_scalar("score/return", score.returns.mean(), step)
        self.curves.add_scalar("score/success", score.successes.mean(), step)
        self.console.print(f"{step:>10,} steps: {score.score(task)}", highlight=False)


def evaluate(policy: Policy, rollouts: Rollouts, episodes: int) -> Episodes:
    """Play the deterministic policy over episodes that training never plays."""

    def act(observation: Tensor) -> Tensor:
        action: Tensor = policy(observation.double())
        return action.float()

    return rollouts.play(act, PROGRESS.seed(), episodes)
