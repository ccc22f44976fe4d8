"""Options that training verbs share, and checks of them.

A verb's `Config` inherits from several of these dataclasses. Its fields come in the reverse order of its bases:
those of the last base first. `config.json` keeps this order.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odeploy_runtime.errors import UsageError
from odeploy_sim.tasks.vector import Backend

Keep = Literal["last", "best"]


@dataclass(frozen=True)
class RunOptions:
    """What is trained, where, and how long."""

    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    out: Path
    """Run folder: new, or of an interrupted run."""
    steps: int = 1_000_000
    """Environment steps, summed over all environments."""


@dataclass(frozen=True)
class SimulationOptions:
    """Random numbers and processes."""

    seed: int = 0
    """Seed of all random numbers."""
    workers: int | None = None
    """Processes that step the environments; default: one per core."""
    backend: Backend = "gymnasium"
    """Physics backend; `envpool`, an extra, is faster on the tasks it supports."""


@dataclass(frozen=True)
class ScoreOptions:
    """Scores during training."""

    score_every: int = 100_000
    """Environment steps between two scores of the deployed policy, and between checkpoints."""
    score_episodes: int = 10
    """Episodes per score; 0 for none."""
    keep: Keep = "last"
    """Deployed policy: the last, or the best of those scored."""


def require_positive(**options: float) -> None:
    """Refuse counts and rates that are not above zero.

    Raises:
        UsageError: names the first one.
    """
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise UsageError(
                where=f"--{name.replace('_', '-')}",
                expected="a number above 0",
                got=f"{value:g}",
                remedy="change it",
            )


def require_from_zero(**options: tuple[float, float]) -> None:
    """Refuse numbers below 0, or not below the upper end given with them.

    Raises:
        UsageError: names the first one.
    """
    for name, (value, end) in options.items():
        if not 0 <= value < end:
            raise UsageError(
                where=f"--{name.replace('_', '-')}",
                expected=f"at least 0 and below {end:g}",
                got=f"{value:g}",
                remedy="change it",
            )


def require_scores(keep: Keep, score_episodes: int) -> None:
    """Refuse to keep the best policy when no policy is scored.

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
