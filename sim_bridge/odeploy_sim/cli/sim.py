"""`odeploy sim TASK`: one simulated robot, driven by a server, with a trace."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_runtime.logging_options import LogOptions, configure
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.tables import LEGEND, one_run
from odeploy_runtime.reports.terminal import Terminal, progress_bars
from odeploy_runtime.trace.parquet import require_pyarrow, write_parquet
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.simulated_robot.film import film, require_writable
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.run import drive


@dataclass(frozen=True)
class Config(LogOptions, RunOptions):
    """Drive a simulated robot with the actions of a server, and record every tick."""

    task: Annotated[str, tyro.conf.Positional]
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    endpoint: str = DEFAULT_ENDPOINT
    """Endpoint of the server."""
    policy: Path | None = None
    """Policy file: start a server for it, and end the server after the run."""
    in_process: bool = False
    """Run that policy in the robot's own process: no socket, and no external watchdog."""
    provider: str = "auto"
    """Execution provider of that policy, see `odeploy serve`."""
    parquet: bool = False
    """Also write the trace as Parquet, after the run."""
    video: Path | None = None
    """Film the first three episodes after the run, as .mp4, .gif or .webp (`odeploy film` films any trace)."""


def main(arguments: list[str]) -> None:
    """Run the episodes, then print their figures and the paths of what was written."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy sim"), Terminal()
    task = resolve(config.task)
    _require_possible(config)
    configure(config)
    file = None if config.policy is None else read(config.policy)
    with contextlib.ExitStack() as stack:
        policy = _policy(config, file, stack)
        ended = _progress(f"{task.name} {config.mode}", config.episodes, console, stack)
        drive(task, policy, config, file, provider=config.provider, ended=ended)
    trace = read_trace(config.trace)
    console.print(one_run(f"{trace.header.policy} on {task.name}, {config.mode}", summary(trace)))
    console.print(LEGEND)
    if trace.lost:
        console.print(f"lost: {trace.lost} of {trace.lost + len(trace.rows)} rows", highlight=False)
    console.print(f"trace: {config.trace}", soft_wrap=True)
    if config.parquet:
        console.print(f"parquet: {write_parquet(trace, config.trace)}", soft_wrap=True)
    if config.video is not None:
        film(config.trace, config.video, task)
        console.print(f"video: {config.video}", soft_wrap=True)


def _require_possible(config: Config) -> None:
    """Raise before anything is started: a UsageError, or a MissingError for pyarrow."""
    config.require_possible()
    if config.in_process and (config.policy is None or config.mode == "stream"):
        raise UsageError(
            where="--in-process",
            expected="--policy FILE, and a mode in which the robot requests actions: realtime or lockstep",
            got="no file" if config.policy is None else "--mode stream",
            remedy="give them, or leave --in-process out",
        )
    if config.robot_keys() is not None and config.policy is not None:
        raise UsageError(
            where="--key, --server-key",
            expected="both, for a server that was started with --key; or none",
            got="both with --policy, whose server needs none",
            remedy="leave them out, or start the server with odeploy serve",
        )
    if config.video is not None:
        require_writable(config.video)
    if config.parquet:
        require_pyarrow()


def _policy(config: Config, file: PolicyFile | None, stack: contextlib.ExitStack) -> str | PolicyFile:
    """Return the policy file to run in this process, or the endpoint of a server.

    Start that server if the options ask for one.
    """
    if file is None:
        return config.endpoint
    if config.in_process:
        return file
    options = ["--provider", config.provider, *config.for_server()]
    return stack.enter_context(serving(file.path, options))


def _progress(label: str, episodes: int, console: Console, stack: contextlib.ExitStack) -> Callable[[int], None]:
    """Show a progress bar; return what to call after each episode.

    It is drawn between episodes alone: rich's refresh thread would share the interpreter with the loop.
    """
    progress = stack.enter_context(progress_bars(console, auto_refresh=False, disable=not console.is_terminal))
    bar = progress.add_task(label, total=episodes)

    def ended(episode: int) -> None:
        progress.update(bar, completed=episode + 1, refresh=True)

    return ended
