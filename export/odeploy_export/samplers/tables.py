"""The tables of `odeploy samplers`: a list for one training, a grid for several.

A row of the list is a deployment setting. In the grid a row is a training, named by what sets it apart from the
others, and a column is a deployment setting; a table below the grid shows the choice for each training. Trainings
that differ only in their seeds share a row: their interquartile mean, with its interval.

The choice is the file with the shortest inference (p50) among those that score within a share of the best.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odeploy_export.samplers.results import Measured
from odeploy_export.samplers.settings import NoiseMode, Setting
from odeploy_train.sweeps.aggregate import Aggregate, over_seeds

_ROLLOUTS = ("solver", "solver_steps")
_NO_DIFFERENCE = ("seed", "score_solver", "score_steps")  # options without influence on the training
CHOSEN, NEAR = "←", "≈"
LEGEND = (
    f"{CHOSEN} the fastest setting within {{within:g}} % of its training's best score, {NEAR} others within it; "
    "evaluations are of the network for one candidate, one after the other; inference in µs: one hot call, "
    "all files in turn"
)


@dataclass(frozen=True)
class Cell:
    """A training in one deployment setting, over its seeds.

    Attributes:
        setting: how it was deployed.
        score: score with its 95 % interval.
        p50_us, p99_us: inference time [µs]; medians over the seeds.
        near: whether the score is within the share of the training's best.
        chosen: whether it is the fastest of those.
    """

    setting: Setting
    score: Aggregate
    p50_us: float
    p99_us: float
    near: bool = False
    chosen: bool = False

    @property
    def mark(self) -> str:
        """Mark behind the score."""
        return f" {CHOSEN}" if self.chosen else f" {NEAR}" if self.near else ""


@dataclass(frozen=True)
class Table:
    """Printable table.

    Attributes:
        title: line above it.
        header: names of the columns.
        rows: texts of the cells.
    """

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join([f"{self.title}:", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def tables(lines: Sequence[Measured], within: float) -> list[Table]:
    """Return the tables of every task, in order.

    Args:
        lines: results with latencies.
        within: share of the best score that the choice may lose.
    """
    made = []
    for task in dict.fromkeys(line.task for line in lines):
        of_task = [line for line in lines if line.task == task]
        first = of_task[0]
        title = f"{task}, {first.scored_by} over {first.episodes + first.invalid} episodes"
        trainings = {name: marked(_cells(runs), within) for name, runs in trainings_of(of_task).items()}
        if len(trainings) == 1:
            ((name, cells),) = trainings.items()
            made.append(_list(f"{title}, {name}", first.scored_by, cells))
        else:
            made += _grids(title, first.scored_by, trainings)
            made.append(_choices(title, first.scored_by, trainings))
    return made


def trainings_of(lines: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Group lines by training.

    A training is named by its method, its solver and the options in which the method's runs differ. Runs without
    such a difference are several seeds of one training.
    """
    values: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        for option, value in line.options.items():
            values.setdefault((line.method, option), set()).add(repr(value))
    made: dict[str, list[Measured]] = {}
    for line in lines:
        differing = [
            f"{option.replace('_', ' ')} {value}"
            for option, value in line.options.items()
            if option not in (*_ROLLOUTS, *_NO_DIFFERENCE) and len(values[line.method, option]) > 1
        ]
        made.setdefault(", ".join([line.method, *_rollouts(line), *differing]), []).append(line)
    return made


def marked(cells: Sequence[Cell], within: float) -> list[Cell]:
    """Mark the cells near the best, and the fastest of them."""
    best = max(cell.score.value for cell in cells)
    enough = best - within * abs(best)
    fastest = min((c for c in cells if c.score.value >= enough), key=lambda c: c.p50_us)
    return [
        Cell(c.setting, c.score, c.p50_us, c.p99_us, near=c.score.value >= enough, chosen=c is fastest)
        for c in cells
    ]


def _rollouts(line: Measured) -> list[str]:
    """Return the solver of a training's rollouts, if it has one."""
    name, steps = (line.options.get(option) for option in _ROLLOUTS)
    return [] if steps is None else [f"{name or 'euler'} × {steps}"]


def _cells(lines: Sequence[Measured]) -> list[Cell]:
    """Return a cell for each setting, over the seeds that have it."""
    by_setting: dict[Setting, list[Measured]] = {}
    for line in lines:
        by_setting.setdefault(line.setting, []).append(line)
    return [_cell(setting, seeds) for setting, seeds in by_setting.items()]


def _cell(setting: Setting, seeds: Sequence[Measured]) -> Cell:
    score = over_seeds([{"value": s.value, "low": s.low, "high": s.high} for s in seeds])
    times = [s.inference_us for s in seeds if s.inference_us is not None]
    p50, p99 = (statistics.median(time[p] for time in times) for p in ("p50", "p99"))
    return Cell(setting, score, p50, p99)


def _list(title: str, scored_by: str, cells: Sequence[Cell]) -> Table:
    header = ["noise", "sampler", "evaluations", f"{scored_by} [95 %]", "p50", "p99", "× cheapest"]
    least = min(cell.p50_us for cell in cells)
    seeds = max(cell.score.seeds for cell in cells)
    rows = [
        [
            c.setting.noise, c.setting.sampler, str(c.setting.evaluations), _score(c.score) + c.mark,
            f"{c.p50_us:.0f}", f"{c.p99_us:.0f}", f"{c.p50_us / least:.1f}",
        ]
        for c in cells
    ]  # fmt: skip
    return Table(title + (f", {seeds} seeds" if seeds > 1 else ""), header, rows)


def _grids(title: str, scored_by: str, trainings: Mapping[str, Sequence[Cell]]) -> list[Table]:
    """Return a grid for each noise mode and number of candidates.

    Columns are solvers and steps.
    """
    settings = dict.fromkeys(cell.setting for cells in trainings.values() for cell in cells)
    blocks: dict[tuple[NoiseMode, int], list[Setting]] = {}
    for setting in settings:
        blocks.setdefault((setting.noise, setting.candidates), []).append(setting)
    made = []
    for (noise, candidates), columns in blocks.items():
        there = {name: {c.setting: c for c in cells if c.setting in columns} for name, cells in trainings.items()}
        found = {setting: [by[setting].p50_us for by in there.values() if setting in by] for setting in columns}
        rows = [[name, *(_short(by[s]) if s in by else "–" for s in columns)] for name, by in there.items() if by]
        rows.append(["evaluations", *(str(s.evaluations) for s in columns)])
        rows.append(["p50, median", *(f"{statistics.median(found[s]):.0f}" for s in columns)])
        many = f", best of {candidates}" if candidates > 1 else ""
        header = ["trained with", *(f"{s.solver} × {s.steps}" for s in columns)]
        made.append(Table(f"{title}; deployed with {noise} noise{many}, {scored_by}", header, rows))
    return made


def _choices(title: str, scored_by: str, trainings: Mapping[str, Sequence[Cell]]) -> Table:
    score = f"{scored_by} [95 %]"
    header = ["trained with", "seeds", f"best {score}", "by", f"chosen {CHOSEN}", score, "p50", "p99"]
    rows = []
    for name, cells in trainings.items():
        best = max(cells, key=lambda c: c.score.value)
        chosen = next(c for c in cells if c.chosen)
        rows.append(
            [
                name, str(best.score.seeds), _score(best.score), f"{best.setting.sampler}, {best.setting.noise}",
                f"{chosen.setting.sampler}, {chosen.setting.noise}", _score(chosen.score),
                f"{chosen.p50_us:.0f}", f"{chosen.p99_us:.0f}",
            ]
        )  # fmt: skip
    return Table(f"{title}; what to deploy", header, rows)


def _short(cell: Cell) -> str:
    return _number(cell.score.value) + cell.mark


def _score(score: Aggregate) -> str:
    return f"{_number(score.value)} [{_number(score.low)}, {_number(score.high)}]"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
