"""Tables: each cell from one figure, a dash where there is none."""

import dataclasses
import io

from rich.console import Console
from rich.table import Table

from odeploy_runtime.reports.latency import Quality
from odeploy_runtime.reports.statistics import Percentiles
from odeploy_runtime.reports.tables import floors_table, one_run, run_row, runs_table, signal_table, times, wide
from odeploy_runtime.signals import Signal
from tests.unit.runtime.bench import row

FAST: Percentiles = {"p50": 10.4, "p90": 15.0, "p99": 20.6, "p99.9": None, "max": 99.5}
SLOW: Percentiles = {"p50": 100.0, "p90": 150.0, "p99": 200.0, "p99.9": 900.0, "max": 1000.0}
RUN = row(
    mode="realtime",
    rate_hz=200.0,
    speed=2.0,
    score=Quality("success", 0.5, 0.25, 0.75, 8),
    inference_us=FAST,
    round_trip_us=SLOW,
    lateness_us=FAST,
    age_us=FAST,
    due_to_applied_us=SLOW,
    ticks_due=1000,
    misses=7,
    skipped=3,
    held=4,
    invalid_episodes=1,
)


def cells(table: Table) -> list[list[str]]:
    """Return the rows of a table."""
    return [list(map(str, each)) for each in zip(*(column.cells for column in table.columns), strict=True)]


def test_percentiles_are_whole_microseconds_and_a_dash_where_undefined() -> None:
    assert times(FAST, "p50", "p99", "p99.9", "max") == "10/21/–/100"
    assert times(dict.fromkeys(FAST), "p50", "p99") == "–/–"


def test_a_table_of_runs_has_a_cell_for_each_column() -> None:
    table = runs_table("title")
    table.add_row(*run_row(RUN))
    (made,) = cells(table)
    assert made[:7] == ["teacher", "fm-bc", "euler × 2", "200", "2×", "lane", "0.50 [0.25, 0.75]"]
    assert made[7:] == ["10/21", "100/200/900/1000", "21", "1000", "7", "3", "4"]


def test_lockstep_has_no_rate_and_no_speed_and_large_returns_no_decimals() -> None:
    lockstep = dataclasses.replace(
        RUN, mode="lockstep", speed=None, score=Quality("return", 1234.5, 99.96, -1000.2, 8)
    )
    assert run_row(lockstep)[3:7] == ("lockstep", "–", "lane", "1234 [99.96, -1000]")


def test_one_run_has_the_figures_of_the_table_as_rows_and_three_more() -> None:
    table = dict(cells(one_run("title", RUN)))
    assert len(table) == 14
    assert table["round trip p50/p99/p99.9/max"] == "100/200/900/1000"
    assert table["age of the observation p50/p99"] == "10/21"
    assert table["due to applied p50/p99"] == "100/200"
    assert table["episodes ended / invalid"] == "8 / 1"


def test_lower_bounds_are_listed_where_they_were_measured() -> None:
    bounds = {"echo": {"touched": FAST, "bare": SLOW}, "session": {"touched": SLOW, "bare": FAST}}
    measured = dataclasses.replace(RUN, floors=bounds, round_trip_to_floors=1.2345)
    unanswered = dataclasses.replace(measured, round_trip_us=dict.fromkeys(FAST), round_trip_to_floors=None)
    table = floors_table([measured, RUN, unanswered], pre_touch=True)
    trips = ["10/21", "100/200", "100/200", "10/21"]
    assert cells(table) == [
        ["teacher", "200", "lane", *trips, "100", "1.23"],
        ["teacher", "200", "lane", *trips, "–", "–"],
    ]
    assert "pre-touch: on" in str(table.title)


def test_signals_are_numbered_and_limits_that_are_none_are_empty() -> None:
    table = signal_table("action", [Signal("x", "m", -4.0, 4.0), Signal("motor", "N", 0.0, None, 0.25)])
    assert cells(table) == [["0", "x", "m", "-4", "4", ""], ["1", "motor", "N", "0", "", "0.25"]]


def test_a_narrow_console_is_widened_and_a_wide_one_kept() -> None:
    assert wide(Console(width=80, file=io.StringIO())).width == 150
    assert wide(Console(width=200, file=io.StringIO())).width == 200
