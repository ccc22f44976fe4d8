"""Figures of a report: distribution, timeline, stages, quality against latency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from odeploy_runtime.reports.bench_results import BenchRow
from odeploy_runtime.reports.latency import APPLIED_AT, DUE, STEPPED, WOKE, stages_ns
from odeploy_runtime.reports.two_clocks import WIRE, on_the_robots_clock, one_clock
from odeploy_runtime.trace.format import APPLIED, SKIPPED, STAMPS, Trace

mpl.use("Agg")

_COLOURS = ("#1f6feb", "#d4592a", "#2a9d5c", "#8e44ad", "#c79a00", "#4b5563", "#c2185b", "#0097a7")
# What happens in each stage, by the stamp that ends it.
_STAGE_NAMES = {
    "woke": "wake up late",
    "observed": "read sensors",
    "sent": "hand to socket",
    "received": "wire to server",
    "started": "decode, noise",
    "inferred": "inference",
    "replied": "encode",
    "arrived": "wire to robot",
    "applied": "guard",
    "stepped": "physics step",
}


@dataclass(frozen=True)
class ReportRun:
    """One run of a report: its legend, figures and ticks."""

    label: str
    row: BenchRow
    trace: Trace


def distribution(runs: Sequence[ReportRun]) -> Figure:
    """Draw the share of ticks that took longer than x, from due to applied."""
    figure, axes = _canvas("Due → applied: share of ticks that took longer")
    for run, colour in _coloured(runs):
        rows = run.trace.rows
        ran = rows["stamps"][:, WOKE] > 0
        took = np.sort((rows["stamps"][:, APPLIED_AT] - rows["stamps"][:, DUE])[ran]) / 1e3
        axes.step(took, 1 - np.arange(len(took)) / len(took), where="post", color=colour, label=run.label)
        if run.trace.header.deadline_ns:
            axes.axvline(run.trace.header.deadline_ns / 1e3, color=colour, linestyle=":", linewidth=1)
    axes.set(
        xscale="log", yscale="log", xlabel="µs since the tick was due (dotted: deadline)", ylabel="share of ticks"
    )
    axes.legend(fontsize=8)
    return figure


def time_line(runs: Sequence[ReportRun]) -> Figure:
    """Draw each tick's latency in order, one strip per run.

    Only here bursts, drifts and misses show.
    """
    figure = Figure(figsize=(9, 0.6 + 1.5 * len(runs)), layout="constrained")
    strips = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    for axes, (run, colour) in zip(strips, _coloured(runs), strict=True):
        rows = run.trace.rows
        stamps = rows["stamps"]
        ran = rows["kind"] != SKIPPED
        elapsed = (stamps[:, DUE] - stamps[0, DUE]) / 1e9
        axes.plot(elapsed[ran], (stamps[ran, APPLIED_AT] - stamps[ran, DUE]) / 1e3, ".", ms=2, color=colour)
        missed = rows["kind"] != APPLIED
        if missed.any():
            level = run.trace.header.deadline_ns / 1e3
            axes.plot(
                elapsed[missed], np.full(missed.sum(), level), "x", ms=5, color="black", label="held or skipped"
            )
            axes.legend(fontsize=7, loc="upper right")
        axes.set(yscale="log", title=run.label, ylabel="µs")
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
    strips[-1].set_xlabel("seconds since the first tick")
    return figure


def quality_against_latency(runs: Sequence[ReportRun]) -> Figure:
    """Draw score over latency.

    Bars are the score's 95 % interval and p50 to p99 of the latency.
    """
    figure, axes = _canvas("Quality against latency")
    for run, colour in _coloured(runs):
        score, p50, p99 = run.row.score, run.row.due_to_applied_us["p50"], run.row.due_to_applied_us["p99"]
        if p50 is None or p99 is None:
            continue
        axes.errorbar(
            p50,
            score.value,
            yerr=[[score.value - score.low], [score.high - score.value]],
            xerr=[[0], [p99 - p50]],
            fmt="o",
            capsize=3,
            color=colour,
            label=run.label,
        )
    axes.set(xscale="log", xlabel="due → applied, µs: p50 and up to p99", ylabel=runs[0].row.score.scored_by)
    axes.legend(fontsize=8)
    return figure


def stage_bars(runs: Sequence[ReportRun]) -> Figure:
    """Draw the mean tick, stage by stage; means, unlike medians, sum to the total.

    A run with different clocks at its two ends lacks the stages of the wire.
    """
    figure, axes = _canvas("Where a tick's time goes (mean over answered ticks)", height=1.2 + 0.45 * len(runs))
    left = np.zeros(len(runs))
    means = np.array([_mean_stages(run.trace) for run in runs]) / 1e3
    for stage, colour in zip(range(len(STAMPS) - 1), mpl.colormaps["tab10"].colors, strict=True):  # type: ignore[attr-defined]
        name = _STAGE_NAMES[STAMPS[stage + 1]]
        axes.barh(np.arange(len(runs)), means[:, stage], left=left, color=colour, label=name)
        left += means[:, stage]
    axes.set_yticks(np.arange(len(runs)), [run.label for run in runs])
    axes.invert_yaxis()
    axes.set_xlabel("µs")
    axes.legend(fontsize=7, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return figure


def _mean_stages(trace: Trace) -> Any:
    stamps = trace.rows["stamps"][trace.rows["kind"] == APPLIED]
    stamps = stamps[stamps[:, STEPPED] > 0]
    if not len(stamps):
        return np.zeros(len(STAMPS) - 1)
    if one_clock(stamps):
        return stages_ns(stamps).mean(axis=0)
    means = stages_ns(on_the_robots_clock(stamps)).mean(axis=0)
    means[[STAMPS.index(name) - 1 for name in WIRE]] = 0
    return means


def _canvas(title: str, height: float = 4.2) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    return figure, axes


def _coloured(runs: Sequence[ReportRun]) -> list[tuple[ReportRun, str]]:
    return [(run, _COLOURS[i % len(_COLOURS)]) for i, run in enumerate(runs)]
