"""The search for a deployment setting: export, score and time all of them.

Every run is exported in every setting, with the parity check. Every file plays the same episodes in lockstep. Then
all files are timed in turn. A setting whose result exists is not scored again. It is always timed again, since
times compare only within one run of the machine.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from odeploy_export.samplers.jobs import Job, Score, Training, export_missing, inference_us, jobs, rounds, scored
from odeploy_export.samplers.results import Measured, read, write
from odeploy_export.samplers.settings import Axes
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import read as read_policy
from odeploy_runtime.realtime.machine import git_revision, machine_line
from odeploy_runtime.reports.terminal import Label
from odeploy_sim.bench.batched_policy import EpisodeScores
from odeploy_sim.bench.score import judged
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Search:
    """What to search.

    Attributes:
        runs: folders of finished training runs.
        axes: sampler options to combine.
        score: how files are scored.
        calls: timed inferences of each file.
        processes: files scored at once, each in its own process.
        files: folder in which the policy files are kept; None for a temporary one.
        out: JSON lines, one per setting, read and written; None to keep nothing.
        tasks: references of the runs' tasks that are not catalogued.
    """

    runs: tuple[Path, ...]
    axes: Axes
    score: Score
    calls: int
    processes: int = 1
    files: Path | None = None
    out: Path | None = None
    tasks: tuple[str, ...] = ()


def measured(search: Search, console: Console) -> list[Measured]:
    """Return the result of each run and setting, in order.

    Each is saved as soon as it is known.

    Raises:
        OdeployError: an unfinished run or one that samples nothing, an impossible setting, or a file that fails
            the parity check. Earlier results are kept.
    """
    score, out = search.score, search.out
    lines = {} if out is None else read(out)
    with _folder(search.files) as folder, _progress(console) as progress:
        trainings = [Training.of(run, search.tasks) for run in search.runs]
        wanted = [job for training in trainings for job in jobs(training, search.axes, score, folder)]
        wanted = list({job.key: job for job in wanted}.values())
        for job in wanted:
            _require_level(job.training.task, score.level)
        missing = [job for job in wanted if job.key not in lines]
        console.print(
            f"{len(wanted)} settings, {len(wanted) - len(missing)} of them scored before", highlight=False
        )
        unmade = sum(not job.file.exists() for job in wanted)
        bar = progress.add_task("exporting, files", total=unmade)
        export_missing(wanted, lambda: progress.advance(bar))
        bar = progress.add_task("scoring, episodes", total=len(missing) * score.episodes)
        for job, played in scored(missing, score, search.processes, lambda: progress.advance(bar)):
            lines[job.key] = line = _line(job, played, score)
            _keep(out, lines)
            figures = f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]"
            console.print(f"{job}: {line.scored_by} {figures}", soft_wrap=True, highlight=False, markup=False)
        bar = progress.add_task("timing, rounds", total=rounds(search.calls))
        took = inference_us([job.file for job in wanted], search.calls, lambda: progress.advance(bar))
    for job, times in zip(wanted, took, strict=True):
        lines[job.key] = lines[job.key].timed(times, machine_line())
    _keep(out, lines)
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
        **judged(training.task, played.returns, played.successes),
        invalid=played.invalid,
        noise_level=score.level,
        score_seed=score.seed,
        fingerprint=read_policy(job.file).fingerprint,
        inference_us=None,
        machine=machine_line(),
        git=git_revision(),
        version=training.card.version,
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
    columns = Label(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
