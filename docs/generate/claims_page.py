"""docs/explanation/claims.md: `python -m docs.generate.claims_page`.

The page follows from `results/claims.toml` and the committed results.
"""

import textwrap
from collections.abc import Sequence

from docs.generate.claims import (
    RESULTS,
    ROOT,
    SEEDS,
    Claim,
    Compared,
    Figure,
    compared,
    overall,
    published,
    read_claims,
    slug,
)
from odeploy_runtime.atomic_file import write_whole

PAGE = ROOT / "docs" / "explanation" / "claims.md"
PAPERS = {
    "FM-IRL": "arXiv 2510.09222",
    "FPO": "arXiv 2507.21053",
    "FPO++": "arXiv 2602.02481",
    "FMER": "arXiv 2603.17685",
}
_WIDTH = 100
_MOST = 10.0  # figures below it have two digits

_INTRODUCTION = f"""\
# The papers' claims

For engineers who want to know which claims of the papers odeploy's results support. For each claim
you see a verdict, the figures behind it, and the command that measures them. Reading time: ten
minutes.

All results are of small runs on two cores: fewer steps, smaller networks and other simulators than
the papers'. A verdict is about this size. [Results](../results.md) has the settings and the
protocol.

## How a verdict is reached

Each comparison has two figures, each with a 95 % interval over training seeds.

| verdict | when |
|---|---|
| shown | the intervals are separate, and the method is ahead |
| weak | it is ahead, but the intervals overlap, or a side has fewer than {SEEDS} seeds |
| weak, against | the same, and it is behind |
| contradicted | the intervals are separate, and the method is behind |
| not run | a figure is missing |

A claim to be level is shown by overlapping intervals, and a claim of a factor by the values alone.
A claim is shown if all comparisons that were run are shown. It is contradicted if more of them are
contradicted than shown. All else is weak.

×n is the number of seeds; with one, the interval is over episodes. A † marks a training that was
corrected since and not repeated. Times are single measurements. The column *published* has the
papers' own figures, the method's first.

`python -m docs.generate.claims_page` writes this page from `results/claims.toml` and the results; a
test keeps it current.
"""


def page(claims: Sequence[Claim]) -> str:
    """Return the whole page."""
    made = [(claim, [compared(comparison) for comparison in claim.comparisons]) for claim in claims]
    parts = [
        _INTRODUCTION,
        "## All claims",
        "",
        "| paper | claim | verdict | comparisons run |",
        "|---|---|---|---|",
    ]
    for claim, outcomes in made:
        run = sum(outcome.verdict != "not run" for outcome in outcomes)
        parts.append(f"| {claim.paper} | [{claim.claim}] | {_verdict(outcomes)} | {run} of {len(outcomes)} |")
    parts += ["", *(f"[{claim.claim}]: #{slug(claim.claim)}" for claim in claims)]
    for paper, source in PAPERS.items():
        parts += ["", f"## {paper} ({source})"]
        for claim, outcomes in made:
            if claim.paper == paper:
                parts += ["", *_section(claim, outcomes)]
    return "\n".join(parts) + "\n"


def _section(claim: Claim, outcomes: Sequence[Compared]) -> list[str]:
    header, body = _table(outcomes)
    text = [f"**{_verdict(outcomes).capitalize()}.**", claim.published, claim.remark]
    return [
        f"### {claim.claim}",
        "",
        textwrap.fill(" ".join(filter(None, text)), _WIDTH, break_on_hyphens=False),
        "",
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
        *(f"| {' | '.join(row)} |" for row in body),
        "",
        "```",
        *([claim.command] if claim.command else _sweeps(outcomes)),
        "```",
    ]


def _sweeps(outcomes: Sequence[Compared]) -> list[str]:
    """Return the commands that run the sweeps.

    A sweep without a specification has a comment instead.
    """
    names = dict.fromkeys(outcome.comparison.results for outcome in outcomes)
    return [
        f"odeploy sweep results/{name}.toml" if (RESULTS / f"{name}.toml").exists() else f"# no sweep yet: {name}"
        for name in names
    ]


def _table(outcomes: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells; what all rows share is in the header alone."""
    comparisons = [outcome.comparison for outcome in outcomes]
    methods, others = ({getattr(c, side) or "bound" for c in comparisons} for side in ("ours", "against"))
    with_published = any(published(comparison) not in ("", "–") for comparison in comparisons)
    header = ["task", *_named(methods, "method"), *_named(others, "compared with")]
    header += [*(["published"] if with_published else []), "verdict"]
    body = []
    for outcome in outcomes:
        comparison = outcome.comparison
        row, unit = [comparison.name or comparison.task], 1e3 if comparison.column == "steps" else 1.0
        row += [*([comparison.ours] if len(methods) > 1 else []), _figure(outcome.ours, unit)]
        row += [*([comparison.against] if len(others) > 1 else []), _figure(outcome.against, unit)]
        row += [published(comparison) or "–"] if with_published else []
        body.append([*row, outcome.verdict])
    return header, body


def _named(methods: set[str], kind: str) -> list[str]:
    return [kind, "figure"] if len(methods) > 1 else list(methods)


def _figure(figure: Figure | None, unit: float) -> str:
    if figure is None:
        return "not run"
    over, mark = figure.over, "†" if figure.outdated else ""
    if figure.exact:
        return f"{over.value:g}{mark}"
    digits = 2 if over.high < _MOST else 0
    value, low, high = (f"{number / unit:.{digits}f}" for number in (over.value, over.low, over.high))
    return f"{value}{' k' if unit > 1 else ''} [{low}, {high}] ×{over.seeds}{mark}"


def _verdict(outcomes: Sequence[Compared]) -> str:
    return overall(outcome.verdict for outcome in outcomes)


def main() -> None:
    """Write the page."""
    write_whole(PAGE, page(read_claims()).encode())


if __name__ == "__main__":
    main()
