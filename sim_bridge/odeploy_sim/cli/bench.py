"""`odeploy bench FILES... --task T`: score and latency of policy files by rate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import tyro
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_runtime.inference.policy import require_backend
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.bench_results import BenchResults
from odeploy_runtime.reports.tables import LEGEND, floors_table, run_row, runs_table, wide
from odeploy_runtime.reports.terminal import Terminal, progress_bars
from odeploy_runtime.robot.connect import Transport
from odeploy_runtime.robot.options import require_rate
from odeploy_runtime.signals import require_same_names
from odeploy_sim.bench.run import BenchOptions, bench
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Config(BenchOptions):
    """Measure policy files at control rates: return, latency, misses, lower bounds."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Policy files."""
    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    rates: str = "100"
    """Control rates [Hz], separated by commas."""
    episodes: str = "20"
    """Episodes at each rate: one number, or one per rate, separated by commas."""
    transport: str = "auto"
    """How frames travel: `lane`, the local lane; `zmq`, ZeroMQ; `auto`, the lane if there is one; or several of
    them, separated by commas."""


def main(arguments: list[str]) -> None:
    """Check everything first; then measure, write and print."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy bench"), Terminal()
    task = resolve(config.task)
    require_backend(config.provider)
    config.require_possible()
    task.arguments(config.noise)  # raises for a level that the task does not have
    files = [_fitting(path, task, config) for path in config.files]
    rates = _numbers(config.rates, "--rates")
    for rate in rates:
        require_rate(rate)
    episodes = _episodes(config.episodes, len(rates))
    transports = _transports(config.transport)
    with progress_bars(console, disable=not console.is_terminal) as progress:
        results = bench(files, task, list(zip(rates, episodes, strict=True)), transports, config, progress)
    _print(results, console)
    console.print(f"results: {config.out / 'bench.json'}, with a trace for each row beside it", soft_wrap=True)


def _fitting(path: Path, task: Task, config: Config) -> PolicyFile:
    """Read a file.

    Raise if its signals are not the task's or its horizon is too short for the options.
    """
    file = read(path)
    require_same_names(file.manifest.raw_names, task.observation_names, f"{path} on {task.name}, observation")
    require_same_names(file.manifest.action_names, task.action_names, f"{path} on {task.name}, action")
    config.chunking(file.manifest.horizon, paced=True)
    return file


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            where=option,
            expected="numbers separated by commas",
            got=repr(text),
            remedy="give for example 100,200",
        ) from None


def _episodes(text: str, rates: int) -> list[int]:
    """Return a number of episodes for each rate."""
    episodes = [int(n) for n in _numbers(text, "--episodes")]
    if len(episodes) not in (1, rates) or min(episodes) < 1:
        raise UsageError(
            where="--episodes",
            expected=f"one positive number, or {rates} of them, as there are rates",
            got=text,
            remedy="give for example --rates 100,200 --episodes 50,20",
        )
    return episodes * rates if len(episodes) == 1 else episodes


def _transports(text: str) -> list[Transport]:
    known: dict[str, Transport] = {name: name for name in get_args(Transport)}
    named = text.split(",")
    if not known.keys() >= set(named) or len(set(named)) < len(named):
        raise UsageError(
            where="--transport",
            expected=f"different ones of {', '.join(known)}, separated by commas",
            got=repr(text),
            remedy="give for example lane,zmq",
        )
    return [known[name] for name in named]


def _print(results: BenchResults, console: Console) -> None:
    table = runs_table(f"{results.task} on {machine_line()}")
    for row in results.rows:
        table.add_row(*run_row(row))
    wide(console).print(table)
    console.print(LEGEND)
    wide(console).print(floors_table(results.rows, results.pre_touch))
