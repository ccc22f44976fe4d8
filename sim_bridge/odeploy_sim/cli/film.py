"""`odeploy film TRACE`: the episodes of a trace as a video or a strip of pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.own_tasks.named import named, of_trace
from odeploy_sim.simulated_robot.film import film, require_writable


@dataclass(frozen=True)
class Config:
    """Film a trace as MP4, GIF or WebP, or as a PNG: one row of pictures per episode."""

    trace: Annotated[Path, tyro.conf.Positional]
    """Trace of `odeploy sim` or `odeploy bench`."""
    out: Path
    """File to write, such as `hopper.mp4`, `.gif`, `.webp` or `.png`."""
    episodes: int = 3
    """Maximum number of episodes, from the first one."""
    task: str | None = None
    """Task of the trace, if it is not catalogued: file.py:NAME, file.toml, gym:ID or module:NAME."""


def main(arguments: list[str]) -> None:
    """Film the trace and print the path of the film."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy film"), Terminal()
    require_writable(config.out)
    task = named(of_trace(str(config.trace), read_trace(config.trace).header), config.task)
    film(config.trace, config.out, task, config.episodes)
    console.print(f"film: {config.out}", soft_wrap=True)
