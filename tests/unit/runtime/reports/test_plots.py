"""Figures of a report: what is drawn are the numbers of the trace."""

import numpy as np
import pytest
from matplotlib.lines import Line2D

from odeploy_runtime.reports.plots import (
    ReportRun,
    distribution,
    quality_against_latency,
    stage_bars,
    time_line,
)
from odeploy_runtime.trace.format import APPLIED, ENDED, HELD, SKIPPED, STAMPS, Trace
from tests.unit.runtime import bench, traces
from tests.unit.runtime.reports.test_two_clocks import answered

S = 1_000_000_000


def points(line: Line2D) -> tuple[list[float], list[float]]:
    """Return the coordinates of a curve."""
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def run(label: str, *rows: dict[str, object]) -> ReportRun:
    trace = Trace(traces.header(), traces.rows(*rows))
    return ReportRun(label, bench.row(trace), trace)


def tick(due: int, took_us: int, kind: int = APPLIED, **fields: object) -> dict[str, object]:
    stamps = {"due": due, "woke": due + 1, "applied": due + 1000 * took_us}
    return {"kind": kind, "stamps": stamps, **fields}


def test_the_distribution_is_the_share_of_ticks_that_took_longer() -> None:
    figure = distribution([run("a", tick(S, 40), tick(2 * S, 10), tick(3 * S, 30), tick(4 * S, 20))])
    curve, deadline = figure.axes[0].lines
    assert points(curve) == ([10, 20, 30, 40], [1, 0.75, 0.5, 0.25])
    assert points(deadline)[0] == [4000, 4000]


def test_the_time_line_has_each_tick_that_ran_and_marks_the_misses_at_the_deadline() -> None:
    skipped = {"kind": SKIPPED, "stamps": {"due": 3 * S}}
    first, second = time_line([run("a", tick(S, 10), tick(2 * S, 20, HELD), skipped), run("b", tick(S, 5))]).axes
    ran, missed = first.lines
    assert points(ran) == ([0, 1], [10, 20])
    assert points(missed) == ([1, 2], [4000, 4000])
    assert len(second.lines) == 1
    assert [axes.get_title() for axes in (first, second)] == ["a", "b"]


def test_quality_is_drawn_at_the_median_latency_with_its_interval() -> None:
    rows = [tick(i * S, 10 * i, end=ENDED, success=i == 1, episode=i) for i in (1, 2, 3)]
    made = run("a", *rows)
    axes = quality_against_latency([made]).axes[0]
    ((point, _, bars),) = axes.containers
    assert (point.get_xdata().item(), point.get_ydata().item()) == (20, pytest.approx(1 / 3))
    horizontal, vertical = (bar.get_segments()[0] for bar in bars)
    assert horizontal[:, 0].tolist() == [20, pytest.approx(29.8)]
    assert vertical[:, 1].tolist() == pytest.approx([made.row.score.low, made.row.score.high])
    assert axes.get_ylabel() == "success"


def test_a_run_without_a_tick_that_ran_has_no_point() -> None:
    figure = quality_against_latency([run("a", {"kind": SKIPPED, "stamps": {"due": S}}), run("b", tick(S, 1))])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["b"]  # type: ignore[union-attr]


def test_stages_are_mean_durations_that_sum_to_the_mean_tick() -> None:
    def answered(scale: int) -> dict[str, object]:
        return {"kind": APPLIED, "stamps": tuple(S + 1000 * scale * i * i for i in range(len(STAMPS)))}

    axes = stage_bars([run("a", answered(1), answered(3)), run("none", tick(S, 1, HELD))]).axes[0]
    widths = np.array([[bar.get_width() for bar in stage] for stage in axes.containers])
    assert widths[:, 0].tolist() == pytest.approx([2 * (2 * i + 1) for i in range(10)])
    assert widths[:, 0].sum() == pytest.approx(2 * 100)
    assert widths[:, 1].tolist() == [0] * 10


def test_stages_of_two_clocks_are_drawn_without_those_of_the_wire() -> None:
    def widths(shift_ns: int) -> dict[str, float]:
        stamps = answered(shift_ns)
        axes = stage_bars([run("a", {"kind": APPLIED, "stamps": stamps})]).axes[0]
        names = [str(bars.get_label()) for bars in axes.containers]
        return {name: round(float(bar.get_width()), 6) for name, bar in zip(names, axes.patches, strict=True)}  # type: ignore[attr-defined]

    one, two = widths(0), widths(3600 * S)
    assert (one["wire to server"], one["wire to robot"]) == (4, 8)
    assert two == one | {"wire to server": 0, "wire to robot": 0}
