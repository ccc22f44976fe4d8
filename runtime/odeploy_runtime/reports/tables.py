"""The ledger in the terminal: one row for each file and rate, the floors under them, or one run upright."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

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
    "score [95 %]": "right",
    "inference\np50/p99": "right",
    "round trip\np50/p99/p99.9/max": "right",
    "lateness\np99": "right",
    "ticks": "right",
    "miss": "right",
    "skip": "right",
    "held": "right",
}


def ledger(title: str) -> Table:
    """An empty ledger."""
    return _table(title, _COLUMNS)


def ledger_row(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of a bench as the cells of the ledger."""
    return (row["policy"], row["method"], row["sampler"], *_cells(row))


def one_run(title: str, s: dict[str, Any]) -> Table:
    """The same figures, upright."""
    table = Table("figure", "value", title=title, title_justify="left")
    for name, cell in zip(list(_COLUMNS)[3:], _cells(s), strict=True):
        table.add_row(name.replace("\n", " "), cell)
    table.add_row("age of the observation p50/p99", times(s["age_us"], "p50", "p99"))
    table.add_row("due to applied p50/p99", times(s["due_to_applied_us"], "p50", "p99"))
    table.add_row("episodes ended / invalid", f"{s['score']['episodes']} / {s['invalid_episodes']}")
    return table


def floors_table(rows: Sequence[dict[str, Any]], pre_touch: bool) -> Table:
    """Round trips beside the bare echo and the bare session call of the same run and rate."""
    columns = {"policy": "left", "Hz": "right"}
    for floor in ("echo", "session"):
        columns |= {f"{floor} touched\np50/p99": "right", f"{floor} bare\np50/p99": "right"}
    columns |= {"round trip\np50": "right", "÷ (echo + session)": "right"}
    table = _table(f"floors, same run and rate (server with pre-touch: {'on' if pre_touch else 'off'})", columns)
    for row in rows:
        if "floors" not in row:
            continue
        floors = [
            times(row["floors"][f][t], "p50", "p99") for f in ("echo", "session") for t in ("touched", "bare")
        ]
        ratio = row["round_trip_to_floors"]
        rate, trip = f"{row['rate_hz']:g}", times(row["round_trip_us"], "p50")
        table.add_row(row["policy"], rate, *floors, trip, "–" if ratio is None else f"{ratio:.2f}")
    return table


def signal_table(title: str, signals: Sequence[Signal]) -> Table:
    """Return a table of signals in order, in the form of gymnasium's observation tables."""
    table = Table("#", "signal", "unit", "min", "max", "max step", title=title)
    for i, s in enumerate(signals):
        numbers = ("" if v is None else f"{v:g}" for v in (s.low, s.high, s.max_step))
        table.add_row(str(i), s.name, s.unit, *numbers)
    return table


def wide(console: Console) -> Console:
    """A console that lets a table have the width it needs: a wrapped line is read, a cut column is lost."""
    return Console(width=max(console.width, 150), file=console.file)


def times(percentiles: dict[str, float | None], *which: str) -> str:
    """Percentiles in µs, separated by slashes; – where there is none."""
    values = [percentiles[w] for w in which]
    return "/".join("–" if v is None else f"{v:.0f}" for v in values)


def _table(title: str, columns: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify in columns.items():
        table.add_column(name, justify="left" if justify == "left" else "right", no_wrap=True)
    return table


def _cells(s: dict[str, Any]) -> tuple[str, ...]:
    score = s["score"]
    return (
        s["mode"] if s["mode"] == "lockstep" else f"{s['rate_hz']:g}",
        "–" if s["speed"] is None else f"{s['speed']:g}×",
        "{} [{}, {}]".format(
            *(f"{score[k]:.2f}" if abs(score[k]) < 100 else f"{score[k]:.0f}" for k in ("value", "low", "high"))
        ),
        times(s["inference_us"], "p50", "p99"),
        times(s["round_trip_us"], "p50", "p99", "p99.9", "max"),
        times(s["lateness_us"], "p99"),
        *(str(s[count]) for count in ("ticks_due", "misses", "skipped", "held")),
    )
