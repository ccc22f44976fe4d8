"""`odeploy samplers RUN...`: noise, solver and number of steps to deploy.

The answer is the fastest file whose score is within a share of the best.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.table import Table as RichTable

from odeploy_export.samplers.jobs import Score
from odeploy_export.samplers.search import Search, measured
from odeploy_export.samplers.settings import Axes
from odeploy_export.samplers.tables import CHOSEN, LEGEND, Table, tables
from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True)
class Config(ChunkOptions, Axes):
    """Score and time a generative policy in all settings, and recommend one."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders of finished training runs: flows, best-of-N or diffusion policies. Several give one grid."""
    episodes: int = 50
    """Number of episodes of each file, the same for all."""
    level: float = 1.0
    """Noise level of the task, if it has levels."""
    seed: int = 1
    """Seed of resets and of the policy's noise."""
    within: float = 2.0
    """Largest loss of the recommended setting, as a share of the best score [%]."""
    calls: int = 2_000
    """Number of timed inferences of each file."""
    files: Path | None = None
    """Folder for the policy files, which are kept and not exported again; a temporary one if not given."""
    out: Path | None = None
    """JSON lines, one per setting. Settings that have a line are not scored again."""
    task: tuple[str, ...] = ()
    """Tasks of the runs, if they are not catalogued: file.py:NAME, file.toml, gym:ID or module:NAME."""
    processes: int = 1
    """Number of files scored at once, each in its own process. Timing always uses one."""
    markdown: bool = False
    """Print Markdown, for a document."""


def main(arguments: list[str]) -> None:
    """Export, score and time what is missing, then print the tables."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy samplers"), Terminal()
    require_positive(episodes=config.episodes, calls=config.calls, processes=config.processes)
    if not config.runs or not 0 <= config.within < 100:
        raise UsageError(
            where="RUN, --within",
            expected="at least one run, and from 0 to below 100 per cent",
            got=f"{len(config.runs)} runs and {config.within:g}",
            remedy="give the folder that `odeploy train` printed",
        )
    torch.set_num_threads(1)
    score = Score(config.episodes, config.seed, config.level, config)
    search = Search(
        config.runs, config, score, config.calls, config.processes, config.files, config.out, config.task
    )
    for table in tables(measured(search, console), config.within / 100):
        if config.markdown:
            console.print(table.markdown(), soft_wrap=True, highlight=False)
        else:
            wide(console).print(_drawn(table))
    console.print(LEGEND.format(within=config.within), highlight=False)
    console.print(f"on {machine_line()}", highlight=False)
    if config.out is not None:
        console.print(f"results: {config.out}", soft_wrap=True, highlight=False)


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left")
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row, style="bold" if any(_chosen(cell) for cell in row) else None)
    return drawn


def _chosen(cell: str) -> bool:
    return cell.endswith(CHOSEN)
