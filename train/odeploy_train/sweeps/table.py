"""`odeploy table RESULTS...`: tables of sweeps, with published scores beside ours.

A row is a method: the interquartile mean over its training seeds (`sweeps/aggregate.py`), the environment steps
and minutes of learning to fixed thresholds, and the published score. `--plot` draws learning curves and, if files
were scored at several noise levels, the effect of noise on each method.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from odeploy_runtime.errors import MissingError
from odeploy_runtime.reports.tables import wide
from odeploy_sim.catalogue import get
from odeploy_train.sweeps.aggregate import Aggregate, aggregate, late_score, over_seeds, steps_to
from odeploy_train.sweeps.published import PUBLISHED
from odeploy_train.sweeps.results import Line, lines

THRESHOLDS = {"success": (0.5, 0.8), "return": (1000.0, 2500.0)}
"""Scores to which learning is timed, for tasks without `Task.thresholds`."""
_FEW = 10.0  # scores below it are printed with two digits


@dataclass(frozen=True)
class Config:
    """Print the tables of sweeps' results."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Results of `odeploy sweep`, as JSON lines; several files are read as one."""
    methods: tuple[str, ...] = ()
    """Methods to show; default: all."""
    markdown: bool = False
    """Print Markdown."""
    late: bool = False
    """Also print the mean score in the last third of learning, to compare with the last policy's."""
    plot: Path | None = None
    """Draw curves into this PNG file."""


@dataclass(frozen=True)
class Row:
    """A method on a task.

    Attributes:
        method: name of the method.
        scores: scores over seeds, by noise level.
        late: score in the last third of learning, over seeds; None if a run has none.
        reached: environment steps and minutes of learning to each threshold, medians over the seeds; None if
            any seed never reached it, or the method has no curve.
        trained_min: total time of learning [min], median over the seeds.
        published: published score; None for none.
    """

    method: str
    scores: dict[str, Aggregate]
    late: Aggregate | None
    reached: tuple[tuple[float, float] | None, ...]
    trained_min: float
    published: float | None


def main(arguments: list[str]) -> None:
    """Print tables, and draw curves."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy table"), Console()
    measured = of_methods(read(config.results), config.methods)
    for task in dict.fromkeys(line["task"] for line in measured):
        of_task = [line for line in measured if line["task"] == task]
        header, cells = table(task, of_task, config.late)
        if config.markdown:
            console.print(markdown(task, header, cells), soft_wrap=True, highlight=False, markup=False)
        else:
            shown = Table(*header, title=f"{task}, {of_task[0]['episodes']} episodes a seed", title_justify="left")
            for row in cells:
                shown.add_row(*row)
            wide(console).print(shown)
    if config.plot is not None:
        from odeploy_train.sweeps.plots import draw  # the tables need no matplotlib

        draw(measured, config.plot)
        console.print(f"plot: {config.plot}", soft_wrap=True)


def read(paths: Iterable[Path]) -> list[Line]:
    """Return the lines of results files; of repeated runs, the last one.

    Raises:
        MissingError: a file does not exist, or there is no line.
    """
    measured: dict[tuple[Any, ...], Line] = {}
    for path in paths:
        try:
            measured |= {(line["task"], line["method"], line["seed"]): line for line in lines(path)}
        except OSError as error:
            raise MissingError(
                where=str(path),
                expected="results of a sweep",
                got=error.strerror or type(error).__name__,
                remedy="give a file that `odeploy sweep` wrote",
            ) from None
    if not measured:
        raise MissingError(
            where=", ".join(map(str, paths)) or "RESULTS",
            expected="results of a sweep",
            got="none",
            remedy="run `odeploy sweep` first",
        )
    return list(measured.values())


def of_methods(measured: Sequence[Line], methods: Sequence[str]) -> list[Line]:
    """Return the lines of these methods; of all if none is named.

    Raises:
        MissingError: a method that has no line.
    """
    known = dict.fromkeys(line["method"] for line in measured)
    for method in methods:
        if method not in known:
            raise MissingError(
                where="--methods",
                expected=f"one of {', '.join(map(repr, known))}",
                got=method,
                remedy="name methods as in their specification",
            )
    return [line for line in measured if line["method"] in (methods or known)]


def rows(task: str, measured: Sequence[Line]) -> list[Row]:
    """Return the rows of one task, in the order of the methods' first lines."""
    return [
        _row(method, [line for line in measured if line["method"] == method], task)
        for method in dict.fromkeys(line["method"] for line in measured)
    ]


def thresholds(task: str) -> tuple[float, ...]:
    """Return the scores to which learning on a task is timed."""
    catalogued = get(task)
    return catalogued.thresholds or THRESHOLDS[catalogued.scored_by]


def table(task: str, measured: Sequence[Line], late: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return header and cells; `late` adds a column."""
    made, scored_by = rows(task, measured), get(task).scored_by
    levels = list(dict.fromkeys(level for row in made for level in row.scores))
    scores = [f"{scored_by} [95 %]" + (f", level {level}" if len(levels) > 1 else "") for level in levels]
    reached = [f"steps / min to {threshold:g}" for threshold in thresholds(task)]
    last_third = ["in the last third [95 %]"] if late else []
    header = ["method", *scores, *last_third, "seeds", *reached, "learning, min", "published"]
    cells = [
        [
            row.method,
            *(_score(row.scores.get(level)) for level in levels),
            *(_late(row.late) for _ in last_third),
            str(max(score.seeds for score in row.scores.values())),
            *("–" if at is None else f"{at[0] / 1e3:,.0f} k / {at[1]:.1f}" for at in row.reached),
            f"{row.trained_min:.1f}",
            "–" if row.published is None else f"{row.published:g}",
        ]
        for row in made
    ]
    return header, cells


def markdown(task: str, header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    body = [header, ["---"] * len(header), *cells]
    return "\n".join([f"### {task}", "", *(f"| {' | '.join(row)} |" for row in body), ""])


def _row(method: str, measured: Sequence[Line], task: str) -> Row:
    levels = dict.fromkeys(level for line in measured for level in line["scores"])
    scores = {
        level: over_seeds([line["scores"][level] for line in measured if level in line["scores"]])
        for level in levels
    }
    reached = tuple(_reached(measured, threshold) for threshold in thresholds(task))
    trained_min = statistics.median(line["train_s"] for line in measured) / 60
    late = [score for line in measured if (score := late_score(line["curve"])) is not None]
    over_late = aggregate([late]) if len(late) == len(measured) else None
    return Row(method, scores, over_late, reached, trained_min, PUBLISHED.get(task, {}).get(method))


def _reached(measured: Sequence[Line], threshold: float) -> tuple[float, float] | None:
    at: list[tuple[int, float]] = []
    for line in measured:
        curve: dict[str, Any] = line["curve"]
        steps = steps_to(threshold, curve["steps"], curve["scores"])
        if steps is None:
            return None
        at.append((steps, curve["wall_s"][curve["steps"].index(steps)] / 60))
    return statistics.median(steps for steps, _ in at), statistics.median(minutes for _, minutes in at)


def _score(score: Aggregate | None) -> str:
    if score is None:
        return "not run"
    digits = 2 if score.high < _FEW else 0
    return f"{score.value:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"


def _late(score: Aggregate | None) -> str:
    if score is None:
        return "–"
    text = _score(score)
    return text if score.seeds > 1 else text.partition(" ")[0]  # one seed has no interval
