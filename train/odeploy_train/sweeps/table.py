"""`odeploy table RESULTS...`: tables of sweeps, with published scores beside ours.

A row is a method: the interquartile mean over its training seeds (`sweeps/aggregate.py`) of the last policies and
of the best ones, the environment steps and minutes of learning to fixed thresholds, and the published score.
`--plot` draws learning curves and, if files were scored at several noise levels, the effect of noise.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from odeploy_runtime.errors import MissingError
from odeploy_train.sweeps.aggregate import Aggregate
from odeploy_train.sweeps.results import Line, lines, newest
from odeploy_train.sweeps.rows import Row, rows, scored_by, thresholds

_FEW = 10.0  # scores below it are printed with two digits
_COLUMNS, _ENDLESS = 100, 1_000  # of a terminal; of what measures a table's width
_BREAKS = re.compile(r",? (?=\[|/|level|min$|to |last)")
_OLDER, _ON_THE_WAY = "†", "‡"


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


def main(arguments: list[str]) -> None:
    """Print tables, and draw curves."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy table"), Console()
    measured = of_methods(read(config.results), config.methods)
    for task in dict.fromkeys(line["task"] for line in measured):
        of_task = [line for line in measured if line["task"] == task]
        if config.markdown:
            text = markdown(task, of_task, late=config.late)
            console.print(text, soft_wrap=True, highlight=False, markup=False)
        else:
            _print(task, of_task, console, late=config.late)
    if config.plot is not None:
        from odeploy_train.sweeps.plots import draw  # the tables need no matplotlib

        draw(measured, config.plot)
        console.print(f"plot: {config.plot}", soft_wrap=True)


def read(paths: Iterable[Path]) -> list[Line]:
    """Return the lines of results files that count; see `newest`.

    Raises:
        MissingError: a file does not exist, or there is no line.
    """
    measured: list[Line] = []
    for path in paths:
        try:
            measured += lines(path)
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
    return newest(measured)


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


def table(task: str, measured: Sequence[Line], *, late: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return header and cells; `late` adds a column."""
    made, unit = rows(task, measured), scored_by(task, measured)
    levels = list(dict.fromkeys(level for row in made for level in row.scores))
    scores = [f"{unit} [95 %]" + (f", level {level}" if len(levels) > 1 else "") for level in levels]
    best = ["best [95 %]"] if any(row.best is not None for row in made) else []
    last_third = ["in the last third [95 %]"] if late else []
    reached = [f"steps / min to {threshold:g}" for threshold in thresholds(task, measured)]
    header = ["method", *scores, *best, *last_third, "seeds", *reached, "learning, min", "published"]
    cells = [
        [
            row.method + (f" {_OLDER}" if row.outdated else ""),
            *(_score(row.scores.get(level)) for level in levels),
            *(_best(row) for _ in best),
            *(_late(row.late) for _ in last_third),
            str(row.seeds),
            *("–" if at is None else f"{at[0] / 1e3:,.0f} k / {at[1]:.1f}" for at in row.reached),
            f"{row.trained_min:.1f}",
            "–" if row.published is None else f"{row.published:g}",
        ]
        for row in made
    ]
    return header, cells


def notes(task: str, measured: Sequence[Line]) -> list[str]:
    """Return the footnotes of a table's marks."""
    made = rows(task, measured)
    older = sorted({row.outdated for row in made if row.outdated})
    found = [f"{_OLDER} Trained before a correction: version {', '.join(map(str, older))}."] if older else []
    if any(row.best is not None and not row.rescored for row in made):
        found.append(f"{_ON_THE_WAY} Highest score during training, not scored again.")
    return found


def markdown(task: str, measured: Sequence[Line], *, late: bool = False) -> str:
    """Return a table in Markdown, with its footnotes."""
    header, cells = table(task, measured, late=late)
    body = [header, ["---"] * len(header), *cells]
    below = ["", " ".join(notes(task, measured))] if notes(task, measured) else []
    return "\n".join([f"### {task}", "", *(f"| {' | '.join(row)} |" for row in body), *below, ""])


def _print(task: str, measured: Sequence[Line], console: Console, *, late: bool) -> None:
    """Print a table and its footnotes, narrow if a terminal has no room for it."""
    header, cells = table(task, measured, late=late)
    title = f"{task}, {measured[0]['episodes']} episodes a seed"
    for shown in _shown(title, header, cells), _shown(title, *_narrow(header, cells)):
        endless = Console(width=_ENDLESS)
        width = Measurement.get(endless, endless.options, shown).maximum
        if width <= max(_COLUMNS, console.width):
            break
    Console(width=max(width, console.width), file=console.file).print(shown)
    for note in notes(task, measured):
        console.print(note, highlight=False)


def _shown(title: str, header: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in header:
        shown.add_column(Text(name), no_wrap=True)
    for row in cells:
        shown.add_row(*map(Text, row))
    return shown


def _narrow(header: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells with intervals, levels and units on lines of their own."""
    return (
        [_BREAKS.sub("\n", name) for name in header],
        [[method, *(_BREAKS.sub("\n", cell) for cell in rest)] for method, *rest in cells],
    )


def _score(score: Aggregate | None) -> str:
    if score is None:
        return "not run"
    digits = 2 if score.high < _FEW else 0
    return f"{score.value:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"


def _best(row: Row) -> str:
    if row.best is None or row.rescored:
        return "–" if row.best is None else _score(row.best)
    value, _, interval = _late(row.best).partition(" ")
    return f"{value} {_ON_THE_WAY} {interval}".rstrip()


def _late(score: Aggregate | None) -> str:
    if score is None:
        return "–"
    text = _score(score)
    return text if score.seeds > 1 else text.partition(" ")[0]  # one seed has no interval
