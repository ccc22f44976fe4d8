"""Which policy of a training is deployed: its last, or the best of those that were scored on the way.

A policy that explores may fall back from one score to the next. The best is chosen by the score of few episodes,
which is too good for it therefore: what it is worth, others have to say, as in `odeploy score` and in sweeps.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from odeploy_runtime.errors import UsageError
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import Policy
from odeploy_train.runs.rollouts import Episodes

Keep = Literal["last", "best"]


@dataclass
class Kept:
    """The best policy so far.

    Attributes:
        worth: by success, where that is what the task is judged by, then by return.
        step: at which it was scored.
        policy: its weights; None before the first.
    """

    worth: tuple[float, float] = (-math.inf, -math.inf)
    step: int = 0
    policy: dict[str, Any] | None = None

    def offer(self, policy: Policy, score: Episodes, task: Task, step: int) -> None:
        """Keeps a policy that is as good as the one that is kept, or better."""
        success = float(score.successes.mean()) if task.scored_by == "success" else 0.0
        worth = success, float(score.returns.mean())
        if worth >= self.worth:
            weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
            self.worth, self.step, self.policy = worth, step, weights

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"worth": self.worth, "step": self.step, "policy": self.policy}

    def resume(self, saved: dict[str, Any]) -> None:
        """Takes up what `state` gave."""
        self.worth, self.step, self.policy = tuple(saved["worth"]), saved["step"], saved["policy"]


def require_scores(keep: Keep, score_episodes: int) -> None:
    """Refuses to keep the best of policies that are not scored.

    Raises:
        UsageError: no episodes.
    """
    if keep == "best" and score_episodes <= 0:
        raise UsageError(
            where="--keep best",
            expected="scores to choose by",
            got=f"--score-episodes {score_episodes}",
            remedy="score some episodes, or keep the last policy",
        )
