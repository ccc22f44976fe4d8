"""`odeploy samplers RUN...`: with which noise, how many steps and which solver to deploy a generative policy.

Every run is exported in every setting, through the gate; every file plays the same episodes in lockstep; then all
files are timed in turn. The answer is the fastest file whose score is as good as the best, within a share of it.
Nothing that has a line in `--out` is played again; the timing is always made anew, since files compare only within
one run of the machine.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from odeploy_export.samplers.jobs import Job, Score, Training, export_missing, inference_us, jobs, rounds, scored
from odeploy_export.samplers.results import Measured, read, write
from odeploy_export.samplers.settings import Axes
from odeploy_export.samplers.tables import CHOSEN, LEGEND, Table, tables
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import read as read_policy
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.batched_policy import EpisodeScores
from odeploy_sim.bench.score import judged
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.task import Task
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.provenance import git_revision


@dataclass(frozen=True)
class Config(ChunkOptions, Axes):
    """Scores and times a generative policy in every deployment setting, and says which one to take."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders of finished training runs: flows, best-of-N or diffusion policies. Several give one grid."""
    episodes: int = 50
    """Of each file, the same ones for all."""
    level: float = 1.0
    """Noise level of the task, where it has levels."""
    seed: int = 1
    """Decides resets and a policy's noise."""
    within: float = 2.0
    """Per cent of the best score that the recommended setting may lack."""
    calls: int = 2_000
    """Timed inferences of each file."""
    files: Path | None = None
    """Folder for the policy files, which are made once and kept; a temporary one if not given."""
    out: Path | None = None
    """JSON lines, one a setting. Those that are there are not scored again."""
    processes: int = 1
    """Files scored at once, each in a process of its own. Timing always has one."""
    markdown: bool = False
    """Print Markdown, for a document."""


def main(arguments: list[str]) -> None:
    """Exports, scores and times what is missing, then prints."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy samplers"), Console()
    require_positive(episodes=config.episodes, calls=config.calls, processes=config.processes)
    if not config.runs or not 0 <= config.within < 100:
        raise UsageError(
            where="RUN, --within",
            expected="at least one run, and from 0 to below 100 per cent",
            got=f"{len(config.runs)} runs and {config.within:g}",
            remedy="give the folder that `odeploy train` printed",
        )
    torch.set_num_threads(1)
    for table in tables(measured(config, console), config.within / 100):
        if config.markdown:
            console.print(table.markdown(), soft_wrap=True, highlight=False, markup=False)
        else:
            wide(console).print(_drawn(table))
    console.print(LEGEND.format(within=config.within), highlight=False, markup=False)
    console.print(f"on {machine_line()}", highlight=False)
    if config.out is not None:
        console.print(f"results: {config.out}", soft_wrap=True, highlight=False)


def measured(config: Config, console: Console) -> list[Measured]:
    """A line for each run and setting, in order; kept in `--out` as they come about.

    Raises:
        OdeployError: a run that is not finished or samples nothing, a setting that it has not, a file that fails
            the gate. What was scored before is kept.
    """
    score = Score(config.episodes, config.seed, config.level, config)
    lines = {} if config.out is None else read(config.out)
    with _folder(config.files) as folder, _progress(console) as progress:
        wanted = [job for run in config.runs for job in jobs(Training.of(run), config, score, folder)]
        wanted = list({job.key: job for job in wanted}.values())
        for job in wanted:
            _require_level(get(job.training.card.task), config.level)
        missing = [job for job in wanted if job.key not in lines]
        console.print(
            f"{len(wanted)} settings, {len(wanted) - len(missing)} of them scored before", highlight=False
        )
        unmade = sum(not job.file.exists() for job in wanted)
        bar = progress.add_task("exporting, files", total=unmade)
        export_missing(wanted, lambda: progress.advance(bar))
        bar = progress.add_task("scoring, episodes", total=len(missing) * config.episodes)
        for job, played in scored(missing, score, config.processes, lambda: progress.advance(bar)):
            lines[job.key] = line = _line(job, played, score)
            _keep(config.out, lines)
            figures = f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]"
            console.print(f"{job}: {line.scored_by} {figures}", soft_wrap=True, highlight=False, markup=False)
        bar = progress.add_task("timing, rounds", total=rounds(config.calls))
        took = inference_us([job.file for job in wanted], config.calls, lambda: progress.advance(bar))
    for job, times in zip(wanted, took, strict=True):
        lines[job.key] = lines[job.key].timed(times, machine_line())
    _keep(config.out, lines)
    return [lines[job.key] for job in wanted]


def _line(job: Job, played: EpisodeScores, score: Score) -> Measured:
    training, setting = job.training, job.setting
    return Measured(
        key=job.key,
        task=training.card.task,
        run=training.name,
        method=training.card.method,
        seed=training.card.seed,
        options=training.card.config,
        weights_hash=training.weights_hash,
        **vars(setting),
        **judged(get(training.card.task), played.returns, played.successes),
        invalid=played.invalid,
        noise_level=score.level,
        score_seed=score.seed,
        fingerprint=read_policy(job.file).fingerprint,
        inference_us=None,
        machine=machine_line(),
        git=git_revision(),
    )


def _require_level(task: Task, level: float) -> None:
    try:
        task.arguments(level)
    except UsageError as error:  # other verbs call the option by another name
        raise UsageError(
            where=f"--level {level:g}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None


def _keep(out: Path | None, lines: dict[str, Measured]) -> None:
    if out is not None:
        write(out, lines.values())


@contextlib.contextmanager
def _folder(files: Path | None) -> Iterator[Path]:
    if files is not None:
        files.mkdir(parents=True, exist_ok=True)
        yield files
        return
    with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
        yield Path(folder)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left")
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row, style="bold" if any(_chosen(cell) for cell in row) else None)
    return drawn


def _chosen(cell: str) -> bool:
    return cell.endswith(CHOSEN)
