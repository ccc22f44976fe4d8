"""`odeploy collect TASK`: episodes as a Minari dataset with a card.

The episodes are an expert's, or those of traces.

Failures are included, and the default sizes are those of the papers.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.trace.format import Trace
from odeploy_sim.demonstrations.card import Card
from odeploy_sim.demonstrations.collection import CollectOptions, collect, collect_traces
from odeploy_sim.demonstrations.from_trace import read_traces
from odeploy_sim.demonstrations.quality import Quality
from odeploy_sim.demonstrations.recorder import Size
from odeploy_sim.own_tasks.named import named, of_trace
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task

# Sizes of the sets in FM-IRL (arXiv 2510.09222).
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
    """Record an expert's episodes as a Minari dataset."""

    task: Annotated[str | None, tyro.conf.Positional] = None
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME. Traces name a catalogued one
    themselves."""
    out: Path | None = None
    """Folder of the dataset; its name ends in a version. Default: `runs/demos/TASK-QUALITY-v0`."""
    episodes: int | None = None
    """Number of episodes. Default: the size in the task's paper, else 300."""
    transitions: int | None = None
    """Number of ticks to reach, instead of a number of episodes."""
    quality: str = "expert"
    """`expert`; `noisy:STD` adds Gaussian noise to every action, in action units; `coverage:FRACTION` shows only
    this fraction of the goals; `noisy:STD,coverage:FRACTION` both."""
    noise: float = 1.0
    """Noise level of the task; 1 is as catalogued."""
    successes_only: bool = False
    """Drop episodes that ended unsolved; the card has their number."""
    seed: int = 0
    """Seed of resets and all noise."""
    policy: Path | None = None
    """Policy file to use as the expert, instead of the task's own."""
    from_trace: tuple[Path, ...] = ()
    """Traces whose episodes to collect, with the applied commands, instead of playing."""
    stopped_too: bool = False
    """Also collect episodes of traces that an operator or a signal ended."""


def main(arguments: list[str]) -> None:
    """Collect and save a set, and print its figures."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy collect"), Terminal()
    if config.from_trace:
        _collect_traces(config, console)
    else:
        _collect(config, console)


def _collect(config: Config, console: Console) -> None:
    if config.task is None or config.stopped_too:
        raise UsageError(
            where="odeploy collect" if config.task is None else "--stopped-too",
            expected="a task to play" if config.task is None else "--from-trace TRACE",
            got="none",
            remedy="name one (odeploy tasks lists them), or give traces with --from-trace",
        )
    task, quality = resolve(config.task), Quality.parse(config.quality)
    options = CollectOptions(
        size=_size(config, task),
        quality=quality,
        noise_level=config.noise,
        successes_only=config.successes_only,
        seed=config.seed,
        policy=None if config.policy is None else read(config.policy),
    )
    level = "" if config.noise == 1 else f"-level-{config.noise:g}".replace(".", "_")
    out = config.out or Path("runs/demos") / f"{task.name}{level}-{quality.slug}-v0"
    _report(collect(task, options, out, console), out, console)


def _collect_traces(config: Config, console: Console) -> None:
    traces = _traces(config)
    found = zip(config.from_trace, traces, strict=True)
    tasks = [named(of_trace(str(path), trace.header), config.task, "TASK") for path, trace in found]
    task = tasks[0]
    out = config.out or Path("runs/demos") / f"{task.name}-trace-v0"
    chosen = {"successes_only": config.successes_only, "stopped_too": config.stopped_too}
    card, gathered = collect_traces(traces, task, out, console, **chosen)
    _report(card, out, console)
    if gathered.stopped or gathered.cut:
        console.print(f"not included: {gathered.stopped} that were stopped, {gathered.cut} that are not complete")


def _traces(config: Config) -> list[Trace]:
    """Read the traces; raise for options that apply only to playing."""
    given = {"task", "out", "from_trace", "successes_only", "stopped_too"}
    other = [f.name for f in fields(Config) if f.name not in given and getattr(config, f.name) != f.default]
    if other:
        raise UsageError(
            where=f"--{other[0]}",
            expected="none with --from-trace, since the traces contain what was driven",
            got=f"{getattr(config, other[0])}",
            remedy="leave it out",
        )
    return read_traces(config.from_trace)


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
    return size


def _report(card: Card, out: Path, console: Console) -> None:
    success = "" if card.success is None else f", success {card.success:.3f}"
    console.print(
        f"{card.episodes} episodes, {card.transitions} ticks, "
        f"return {card.return_mean:.2f} ± {card.return_std:.2f}{success}"
    )
    if card.invalid_dropped or card.failures_dropped:
        console.print(f"not included: {card.invalid_dropped} that broke, {card.failures_dropped} that failed")
    console.print(f"data hash: {card.data_hash}", soft_wrap=True)
    console.print(f"dataset: {out}", soft_wrap=True)
