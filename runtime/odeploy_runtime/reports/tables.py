"""Tables for the terminal: a bench's runs, its lower bounds, one run, signals."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from odeploy_runtime.reports.bench_results import BenchRow
from odeploy_runtime.reports.latency import Summary
from odeploy_runtime.reports.statistics import Percentiles
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.signals import Signal

LEGEND = (
    "times in µs; p99.9 only from 10⁴ ticks; speed = rate / the task's own rate; lateness = woken after due; "
    "miss = a due tick without a fresh command by its deadline (skipped and held ones included)"
)
_COLUMNS = {
    "policy": "left",
    "method": "left",
    "sampler": "left",
    "Hz": "right",
    "speed": "right",
    "transport": "left",
    "score [95 %]": "right",
    "inference\np50/p99": "right",
    "round trip\np50/p99/p99.9/max": "right",
    "lateness\np99": "right",
    "ticks": "right",
    "miss": "right",
    "skip": "right",
    "held": "right",
}


def runs_table(title: str) -> Table:
    """Return an empty table of a bench's runs."""
    return _table(title, _COLUMNS)


def run_row(row: BenchRow) -> tuple[str, ...]:
    """Return the cells of one row of a bench."""
    return (row.policy, row.method, row.sampler, *_cells(row))


def one_run(title: str, run: Summary) -> Table:
    """Return a table of one run, one figure per row."""
    table = Table("figure", "value", title=title, title_justify="left")
    for name, cell in zip(list(_COLUMNS)[3:], _cells(run), strict=True):
        table.add_row(name.replace("\n", " "), cell)
    table.add_row("age of the observation p50/p99", times(run.age_us, "p50", "p99"))
    table.add_row("due to applied p50/p99", times(run.due_to_applied_us, "p50", "p99"))
    table.add_row("episodes ended / invalid", f"{run.score.episodes} / {run.invalid_episodes}")
    return table


def floors_table(rows: Sequence[BenchRow], pre_touch: bool) -> Table:
    """Return a table of round trips and their lower bounds at the same rate."""
    columns = {"policy": "left", "Hz": "right", "transport": "left"}
    for floor in ("echo", "session"):
        columns |= {f"{floor} touched\np50/p99": "right", f"{floor} bare\np50/p99": "right"}
    columns |= {"round trip\np50": "right", "÷ (echo + session)": "right"}
    table = _table(
        f"lower bounds, same run and rate (server with pre-touch: {'on' if pre_touch else 'off'})", columns
    )
    for row in rows:
        if row.floors is None:
            continue
        floors = [times(row.floors[f][t], "p50", "p99") for f in ("echo", "session") for t in ("touched", "bare")]
        ratio = row.round_trip_to_floors
        rate, trip = f"{row.rate_hz:g}", times(row.round_trip_us, "p50")
        table.add_row(
            row.policy, rate, row.transport or "–", *floors, trip, "–" if ratio is None else f"{ratio:.2f}"
        )
    return table


def signal_table(title: str, signals: Sequence[Signal]) -> Table:
    """Return a table of signals in order, like gymnasium's observation tables."""
    table = Table("#", "signal", "unit", "min", "max", "max step", title=title)
    for i, s in enumerate(signals):
        numbers = ("" if v is None else f"{v:g}" for v in (s.low, s.high, s.max_step))
        table.add_row(str(i), s.name, s.unit, *numbers)
    return table


def wide(console: Console) -> Console:
    """Return a console wide enough for a bench's runs.

    A wrapped line can be read, a truncated column cannot.
    """
    return Terminal(width=max(console.width, 150), file=console.file)


def times(percentiles: Percentiles, *which: str) -> str:
    """Format percentiles in µs, separated by slashes; – for None."""
    values = [percentiles[w] for w in which]
    return "/".join("–" if v is None else f"{v:.0f}" for v in values)


def _table(title: str, columns: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify in columns.items():
        table.add_column(name, justify="left" if justify == "left" else "right", no_wrap=True)
    return table


def _cells(run: Summary) -> tuple[str, ...]:
    score = run.score
    value, low, high = (
        f"{number:.2f}" if abs(number) < 100 else f"{number:.0f}"
        for number in (score.value, score.low, score.high)
    )
    return (
        run.mode if run.mode == "lockstep" else f"{run.rate_hz:g}",
        "–" if run.speed is None else f"{run.speed:g}×",
        run.transport or "–",
        f"{value} [{low}, {high}]",
        times(run.inference_us, "p50", "p99"),
        times(run.round_trip_us, "p50", "p99", "p99.9", "max"),
        times(run.lateness_us, "p99"),
        *map(str, (run.ticks_due, run.misses, run.skipped, run.held)),
    )
