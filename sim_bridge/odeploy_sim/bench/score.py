"""`odeploy score TASK...`: what the experts, or a policy file, are worth in lockstep, with an interval.

Nothing is served here: it is the policy alone that is measured. `--out` keeps the figures of each task in one
JSON, from which docs/reference/tasks.md is written.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.statistics import mean_interval, wilson_interval
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.demonstrations.recorder import Size, Wanted, gather
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Config(ChunkOptions):
    """Scores tasks' experts, or a policy file, over whole episodes in lockstep."""

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of catalogued tasks."""
    episodes: int = 100
    """Of each task."""
    noise: float = 1.0
    """Noise level of the task, where it has levels."""
    policy: Path | None = None
    """A policy file instead of the task's expert."""
    seed: int = 1
    """Decides resets and a policy's noise."""
    out: Path | None = None
    """A JSON to keep the figures in, beside those of other tasks that it has already."""


def main(arguments: list[str]) -> None:
    """Scores and prints; with `--out`, after each task."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy score"), Console()
    if config.episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(config.episodes), remedy="change it")
    if config.policy is None and config.given():
        raise UsageError(
            where=config.given()[0],
            expected="--policy FILE, since experts answer no chunks",
            got="none",
            remedy="give one, or leave the option out",
        )
    table = Table("task", "expert", "score [95 %]", "std", "episodes", "invalid", title="scores in lockstep")
    for task in [get(name) for name in config.tasks]:
        figures = score(task, config, console)
        digits = 3 if figures["scored_by"] == "success" else 1
        value, low, high, std = (f"{figures[k]:.{digits}f}" for k in ("value", "low", "high", "std"))
        counts = str(figures["episodes"]), str(figures["invalid"])
        table.add_row(task.name, figures["expert"], f"{value} [{low}, {high}]", std, *counts)
        if config.out is not None:
            _keep(config.out, task, figures)
    wide(console).print(table)


def score(task: Task, config: Config, console: Console) -> dict[str, Any]:
    """Plays the episodes of one task: score with its interval, and who achieved it."""
    if config.policy is not None:
        task = task.with_actuation(read(config.policy).manifest.actuation)
    env = TaskEnv(task, config.noise)
    expert = demonstrator(env, config.policy, config.seed, config)
    kept = gather(env, expert, Wanted(Size(config.episodes), config.seed), console)
    env.close()
    returns = np.array([episode.rewards.sum() for episode in kept.episodes])
    successes = np.array([episode.success for episode in kept.episodes])
    command = " ".join(["odeploy score", task.name, "--episodes", str(config.episodes), *config.given()])
    return {
        **judged(task, returns, successes),
        "invalid": kept.invalid,
        "noise_level": config.noise,
        "seed": config.seed,
        "expert": expert.card.name,
        "expert_kind": expert.card.kind,
        "fingerprint": expert.card.fingerprint,
        "machine": machine_line(),
        "command": command,
    }


def judged(task: Task, returns: NDArray[np.float64], successes: NDArray[np.bool_]) -> dict[str, Any]:
    """What a task's score says of episodes: the mean with its 95 % interval, and what it was made of.

    Args:
        task: by whose measure.
        returns: of each episode. Shape (E,).
        successes: whether each was solved. Shape (E,).
    """
    by_return = task.scored_by == "return"
    values = returns if by_return else successes.astype(np.float64)
    low, high = mean_interval(values.tolist()) if by_return else wilson_interval(int(values.sum()), len(values))
    return {
        "scored_by": task.scored_by,
        "value": float(values.mean()),
        "low": low,
        "high": high,
        "std": float(values.std()),
        "return_mean": float(returns.mean()),
        "episodes": len(values),
    }


def _keep(path: Path, task: Task, figures: dict[str, Any]) -> None:
    kept = json.loads(path.read_text()) if path.is_file() else {"tasks": {}}
    kept["tasks"][task.name] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(kept, indent=1) + "\n").encode())
