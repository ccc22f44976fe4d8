"""`odeploy score TASK...`: scores of experts or of a policy file, in lockstep.

No server is involved: the policy alone is measured. `--out` collects the figures of all tasks in one JSON, from
which docs/reference/tasks.md is generated.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.score import score
from odeploy_sim.own_tasks.reference import resolve


@dataclass(frozen=True)
class Config(ChunkOptions):
    """Score experts, or a policy file, over whole episodes in lockstep."""

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Tasks: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    episodes: int = 100
    """Number of episodes of each task."""
    noise: float = 1.0
    """Noise level of the task, if it has levels."""
    policy: Path | None = None
    """Policy file to score instead of the task's expert."""
    seed: int = 1
    """Seed of resets and of a policy's noise."""
    out: Path | None = None
    """JSON file for the figures; those of other tasks stay in it."""


def main(arguments: list[str]) -> None:
    """Score and print; with `--out`, write after each task."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy score"), Terminal()
    if config.episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(config.episodes), remedy="change it")
    if config.policy is None and config.given():
        raise UsageError(
            where=config.given()[0],
            expected="--policy FILE, since experts answer no chunks",
            got="none",
            remedy="give one, or leave the option out",
        )
    policy = None if config.policy is None else read(config.policy)
    table = Table("task", "expert", "score [95 %]", "std", "episodes", "invalid", title="scores in lockstep")
    for task in [resolve(name) for name in config.tasks]:
        figures = score(task, config.episodes, config.seed, config.noise, policy, config, console)
        digits = 3 if figures["scored_by"] == "success" else 1
        value, low, high, std = (f"{figures[k]:.{digits}f}" for k in ("value", "low", "high", "std"))
        counts = str(figures["episodes"]), str(figures["invalid"])
        table.add_row(task.name, figures["expert"], f"{value} [{low}, {high}]", std, *counts)
        if config.out is not None:
            _add(config.out, task.name, figures)
    wide(console).print(table)


def _add(path: Path, task: str, figures: dict[str, Any]) -> None:
    """Write a task's figures into a JSON file, beside those of other tasks."""
    whole = json.loads(read_regular(path, TEXT_BYTES)) if path.is_file() else {"tasks": {}}
    whole["tasks"][task] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(whole, indent=1) + "\n").encode())
