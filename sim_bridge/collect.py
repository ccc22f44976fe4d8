"""`odeploy collect TASK`: an expert's episodes become a Minari dataset with a card.

Failures are kept, and the default sizes are the papers'.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

from runtime.errors import UsageError
from sim_bridge.card import Card, processor, versions
from sim_bridge.catalogue import get
from sim_bridge.demonstrations import check_free, data_hash, flatten, save
from sim_bridge.demonstrator import Demonstrator, demonstrator
from sim_bridge.quality import Quality, Region, region
from sim_bridge.recorder import Kept, Size, Wanted, gather
from sim_bridge.task import Task, TaskEnv

# What FM-IRL (arXiv 2510.09222) had of each.
SIZES = {
    "ant-goal": Size(100_000, "transitions"),
    "maze-medium": Size(17_500, "transitions"),
    "hand-rotate": Size(10_000, "transitions"),
    "fetch-pick": Size(2_000),
    "hopper": Size(25),
    "walker2d": Size(25),
}
_OTHERS = Size(300)


@dataclass(frozen=True)
class Config:
    """Records an expert's episodes as a Minari dataset."""

    task: Annotated[str, tyro.conf.Positional]
    """Name of a catalogued task."""
    out: Path | None = None
    """Folder of the dataset; its name ends in a version. `runs/demos/TASK-QUALITY-v0` if not given."""
    episodes: int | None = None
    """How many. Without this and the next one as many as the task's paper has, else 300."""
    transitions: int | None = None
    """Instead of a number of episodes: collect until so many ticks are reached."""
    quality: str = "expert"
    """`expert`; `noisy:STD` adds Gaussian noise to every action, in action units; `coverage:FRACTION` shows
    only so much of the goals; `noisy:STD,coverage:FRACTION` both."""
    noise: float = 1.0
    """Noise level of the task; 1 is as catalogued."""
    successes_only: bool = False
    """Drop episodes that ended unsolved; the card says how many."""
    seed: int = 0
    """Decides resets and all noise."""
    policy: Path | None = None
    """A policy file as the expert, instead of the task's own."""


def main(arguments: list[str]) -> None:
    """Collects, saves, and says what it was worth."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy collect"), Console()
    task, quality = get(config.task), Quality.parse(config.quality)
    size = _size(config, task)
    level = "" if config.noise == 1 else f"-level-{config.noise:g}".replace(".", "_")
    out = config.out or Path("runs/demos") / f"{task.name}{level}-{quality.slug}-v0"
    check_free(out)
    env = TaskEnv(task, config.noise, **quality.arguments(task))
    expert, shown = demonstrator(env, config.policy, config.seed), region(env, quality)
    wanted = Wanted(size, config.seed, quality.action_std, shown, config.successes_only)
    kept = gather(env, expert, wanted, console)
    card = _card(config, quality, env, expert, shown, kept)
    with console.status("writing"):
        save(out, env, kept.episodes, expert.card.name, f"{task.name}, {quality}, level {config.noise:g}", card)
    env.close()
    _report(card, out, console)


def _size(config: Config, task: Task) -> Size:
    if config.episodes is not None and config.transitions is not None:
        raise UsageError(
            where="--episodes, --transitions",
            expected="one of them",
            got="both",
            remedy="leave one out",
        )
    size = SIZES.get(task.name, _OTHERS)
    if config.episodes is not None:
        size = Size(config.episodes)
    if config.transitions is not None:
        size = Size(config.transitions, "transitions")
    if size.amount < 1:
        raise UsageError(where=f"--{size.unit}", expected="at least 1", got=str(size.amount), remedy="change it")
    if config.seed < 0:
        raise UsageError(where="--seed", expected="0 or more", got=str(config.seed), remedy="change it")
    if config.successes_only and task.success_key is None:
        raise UsageError(
            where="--successes-only",
            expected="a task that is solved or not",
            got=f"{task.name}, which is scored by its return",
            remedy="leave it out",
        )
    return size


def _card(
    config: Config, quality: Quality, env: TaskEnv, expert: Demonstrator, shown: Region | None, kept: Kept
) -> Card:
    returns = np.array([e.rewards.sum() for e in kept.episodes])
    successes = [e.success for e in kept.episodes]
    return Card(
        task=env.task.name,
        noise_level=config.noise,
        quality=str(quality),
        goals="all" if quality.coverage is None else shown.said if shown else "a part, drawn by the environment",
        successes_only=config.successes_only,
        episodes=len(returns),
        transitions=sum(len(e.rewards) for e in kept.episodes),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        success=float(np.mean(successes)) if env.task.success_key else None,
        failures_dropped=kept.failures,
        invalid_dropped=kept.invalid,
        seed=config.seed,
        expert=expert.card,
        data_hash=data_hash(*flatten(env.task, kept.episodes)),
        versions=versions(),
        processor=processor(),
    )


def _report(card: Card, out: Path, console: Console) -> None:
    success = "" if card.success is None else f", success {card.success:.3f}"
    console.print(
        f"{card.episodes} episodes, {card.transitions} ticks, "
        f"return {card.return_mean:.2f} ± {card.return_std:.2f}{success}"
    )
    if card.invalid_dropped or card.failures_dropped:
        console.print(f"not kept: {card.invalid_dropped} that broke, {card.failures_dropped} that failed")
    console.print(f"data hash: {card.data_hash}", soft_wrap=True)
    console.print(f"dataset: {out}", soft_wrap=True)
