"""The claims of `results/claims.toml`, compared with results by fixed rules.

A comparison has two figures, each with an interval over training seeds:

- separate intervals, ours above: *shown*; ours below: *contradicted*;
- overlapping intervals: *weak*, *against* if ours is the lower one; where the claim is to be level, *shown*;
- a claim of a factor is shown by values alone;
- with fewer than three seeds on either side: *weak* or *weak, against*;
- without a result on either side: *not run*.

A claim is shown if all of its comparisons that were run are, contradicted if more are contradicted than shown,
not run if none was run, else weak.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from odeploy_runtime.typed_json import decode
from odeploy_train.sweeps.aggregate import Aggregate, aggregate, over_seeds
from odeploy_train.sweeps.published import PUBLISHED
from odeploy_train.sweeps.results import Line, lines, newest, outdated
from odeploy_train.sweeps.rows import best_score, last_scores

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "results", ROOT / "docs" / "results.md"
CLAIMS = RESULTS / "claims.toml"
SEEDS = 3
"""Fewest seeds for a verdict other than weak."""

Verdict = Literal["shown", "weak", "weak, against", "contradicted", "not run"]
Column = Literal["deployed", "last", "best", "steps"]


@dataclass(frozen=True)
class Comparison:
    """Two figures to compare.

    Attributes:
        task: name in the catalogue.
        ours: method that the claim is about.
        against: method to compare with; empty for `value`.
        value: fixed number to compare with.
        results: results file without folder and suffix.
        column: score of the deployed file, of the last or the best policy, or the environment steps to `level`.
        level: noise level of a score; the score to be reached for `steps`.
        factor: the compared figure counts with this factor.
        level_with: whether overlapping intervals show the claim.
        cell: column of a table in docs/results.md, if `results` is the heading above it.
        seeds: seeds behind a figure of such a table; a time needs none.
        fewer: whether less is better, as of times and of `steps`.
        name: shown instead of the task.
        published: published figures of both; those of `sweeps/published.py` if empty.
    """

    task: str
    ours: str
    against: str
    results: str
    value: float | None = None
    column: Column = "deployed"
    level: str = "1"
    factor: float = 1.0
    level_with: bool = False
    cell: str = ""
    seeds: int = SEEDS
    fewer: bool = False
    name: str = ""
    published: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Attributes:
        paper: short name of the paper.
        claim: the claim in one line.
        published: what the paper, or another one, states.
        command: command whose results decide it; empty for the sweeps of the results.
        defaults: values of the comparisons' fields where they have none of their own.
        compare: fields of each comparison.
        remark: what the figures do not say.
    """

    paper: str
    claim: str
    command: str = ""
    published: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    compare: tuple[dict[str, Any], ...] = ()
    remark: str = ""

    @property
    def comparisons(self) -> list[Comparison]:
        """Return the comparisons, with the defaults filled in."""
        made = []
        for given in self.compare:
            values = {"against": "", "results": given.get("task"), **self.defaults, **given}
            made.append(decode(Comparison, values, f"{CLAIMS.name}, {self.claim}"))
        return made


@dataclass(frozen=True)
class Figure:
    """One side of a comparison.

    Attributes:
        over: value, interval and number of seeds.
        outdated: whether its training was corrected since.
        exact: whether it is one number, without interval and seeds.
    """

    over: Aggregate
    outdated: bool = False
    exact: bool = False


@dataclass(frozen=True)
class Compared:
    """Outcome of a comparison; None for a figure that was not measured."""

    comparison: Comparison
    ours: Figure | None
    against: Figure | None
    verdict: Verdict


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """Read the claims."""
    data = tomllib.loads(path.read_text())
    return [decode(Claim, claim, path.name) for claim in data["claims"]]


def compared(comparison: Comparison) -> Compared:
    """Return both figures and the verdict."""
    ours = figure(comparison, comparison.ours)
    if comparison.value is None:
        against = figure(comparison, comparison.against)
    else:
        against = Figure(Aggregate(comparison.value, comparison.value, comparison.value, SEEDS), exact=True)
    if ours is None or against is None:
        return Compared(comparison, ours, against, "not run")
    return Compared(comparison, ours, against, judged(comparison, ours.over, against.over))


def judged(comparison: Comparison, ours: Aggregate, against: Aggregate) -> Verdict:
    """Return the verdict on two figures."""
    sign = -1 if comparison.fewer or comparison.column == "steps" else 1
    low, high = sorted((sign * ours.low, sign * ours.high))
    other_low, other_high = sorted(sign * comparison.factor * end for end in (against.low, against.high))
    sure = min(ours.seeds, against.seeds) >= SEEDS
    ahead = sign * ours.value >= sign * comparison.factor * against.value
    enough = ahead if comparison.factor != 1 else comparison.level_with and high >= other_low
    if enough or low > other_high:
        return "shown" if sure else "weak"
    if high < other_low:
        return "contradicted" if sure else "weak, against"
    return "weak" if ahead else "weak, against"


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on a claim, from those on its comparisons."""
    count = Counter(verdict for verdict in verdicts if verdict != "not run")
    if not count:
        return "not run"
    if count["shown"] == count.total():
        return "shown"
    if count["contradicted"] > count["shown"]:
        return "contradicted"
    if count["weak, against"] + count["contradicted"] > count["weak"] + count["shown"]:
        return "weak, against"
    return "weak"


def figure(comparison: Comparison, method: str) -> Figure | None:
    """Return a method's figure over its seeds; None if no run has one."""
    if comparison.cell:
        return _of_page(comparison, method)
    found = [line for line in _lines(comparison.results, comparison.task) if line["method"] == method]
    if comparison.column == "steps":
        steps = [_steps(line, float(comparison.level)) for line in found if line["curve"]["steps"]]
        return Figure(aggregate([steps]), outdated(found[0])) if steps else None
    scores = [score for line in found if (score := _score(line, comparison)) is not None]
    return Figure(over_seeds(scores), outdated(found[0])) if scores else None


def published(comparison: Comparison) -> str:
    """Return the published figures of both methods; empty if there are none."""
    of_task = PUBLISHED.get(comparison.task, {})
    known = (
        comparison.ours in of_task
        and comparison.against in of_task
        and comparison.column != "steps"
        and comparison.level == "1"
    )
    of_both = f"{of_task[comparison.ours]:g} / {of_task[comparison.against]:g}" if known else ""
    return comparison.published or of_both


def _steps(line: Line, threshold: float) -> float:
    """Return the steps to a score.

    A run that never reached it has all of its steps, which is too few.
    """
    curve = line["curve"]
    reached = (at for at, score in zip(curve["steps"], curve["scores"], strict=True) if score >= threshold)
    return float(next(reached, curve["steps"][-1]))


def _score(line: Line, comparison: Comparison) -> dict[str, Any] | None:
    if comparison.column == "best":
        return best_score(line)
    scores: dict[str, Any] = last_scores(line) if comparison.column == "last" else line["scores"]
    score: dict[str, Any] | None = scores.get(comparison.level)
    return score


def _of_page(comparison: Comparison, row: str) -> Figure | None:
    """Return the first number in a cell of a table on the results page."""
    section = PAGE.read_text().partition(f"## {comparison.results}\n")[2].partition("\n## ")[0]
    header: list[str] = []
    for text in section.splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")] if text.startswith("|") else []
        header = header if header and cells else cells
        if cells[:1] == [row] and comparison.cell in header:
            number = re.match(r"[\d.]+", cells[header.index(comparison.cell)])
            value = float(number[0]) if number else 0.0
            return Figure(Aggregate(value, value, value, comparison.seeds), exact=True)
    return None


def _lines(results: str, task: str) -> list[Line]:
    """Return the lines of a results file on a task, in the form of a sweep's.

    None without the file.
    """
    path = RESULTS / f"{results}.jsonl"
    if not path.exists():
        return []
    found: Sequence[Line] = [line for line in lines(path) if line["task"] == task]
    if results.startswith("goals/"):
        counts = {"1": "kept", "ways": "ways"}
        found = [
            _plain(line, line["method"], line["verb"], {
                level: dict.fromkeys(_ENDS, line[name]) for level, name in counts.items() if name in line
            })
            for line in found
        ]  # fmt: skip
    if results.startswith("samplers/"):
        found = [_plain(line, _setting(line), line["method"], {"1": line}) for line in found]
    return newest(found)


_ENDS = ("value", "low", "high")


def _plain(line: Line, method: str, verb: str, scores: dict[str, dict[str, Any]]) -> Line:
    empty: dict[str, list[float]] = {"steps": [], "scores": [], "wall_s": []}
    return {
        **{name: line[name] for name in ("task", "seed") if name in line},
        **({"version": line["version"]} if "version" in line else {}),
        "method": method, "verb": verb, "curve": empty, "options": {},
        "scores": {level: {end: score[end] for end in _ENDS} for level, score in scores.items()},
    }  # fmt: skip


def _setting(line: Line) -> str:
    best_of = f", best of {line['candidates']}" if line["candidates"] > 1 else ""
    return f"{line['noise']}, {line['solver']} × {line['steps']}{best_of}"


def slug(text: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
