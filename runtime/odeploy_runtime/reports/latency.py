"""Latency and quality of a run: from stamps to stages, from rows to a summary.

Latency counts from when a tick was due, not from when the loop started it, so a stall cannot hide the ticks that
it delayed. Skipped ticks are rows too: they count as misses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.reports.statistics import (
    Percentiles,
    block_interval,
    mean_interval,
    percentiles_us,
    wilson_interval,
)
from odeploy_runtime.reports.two_clocks import WIRE, on_the_robots_clock, one_clock
from odeploy_runtime.safety.states import Cause, State
from odeploy_runtime.trace.format import APPLIED, ENDED, HELD, INVALID, SKIPPED, STAMPS, Trace

DUE, WOKE, OBSERVED, SENT, RECEIVED, STARTED, INFERRED, REPLIED, ARRIVED, APPLIED_AT, STEPPED = range(len(STAMPS))


def stages_ns(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the durations between consecutive stamps.

    Each stage is named by the stamp that ends it.

    A missing stamp (0) ends a stage of length 0; the time up to the next real stamp belongs to that stamp's stage.
    Thus each row sums to its last stamp minus its first.

    Args:
        stamps: Shape (rows, 11).

    Returns:
        Shape (rows, 10).
    """
    return np.diff(np.maximum.accumulate(stamps, axis=1), axis=1)


def totals_ns(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return last stamp minus due. Shape (rows,)."""
    total: NDArray[np.int64] = stamps.max(axis=1) - stamps[:, DUE]
    return total


@dataclass(frozen=True)
class Quality:
    """Success share or mean return over completed episodes, with its 95 % interval."""

    scored_by: str
    value: float
    low: float
    high: float
    episodes: int


def quality(trace: Trace) -> Quality:
    """Return the score over completed episodes.

    An episode succeeds if its last tick does.

    Episodes that were interrupted, or in which the simulation broke, are left out.
    """
    rows = trace.rows[trace.rows["kind"] != SKIPPED]
    ends = rows[rows["end"] == ENDED]
    episodes = ends["episode"]
    if trace.header.scored_by == "success":
        successes = int(ends["success"].sum())
        low, high = wilson_interval(successes, len(episodes))
        return Quality("success", successes / max(1, len(episodes)), low, high, len(episodes))
    returns = np.bincount(rows["episode"], weights=rows["reward"])[episodes]
    if len(returns) == 0:
        return Quality("return", 0.0, 0.0, 0.0, 0)
    low, high = mean_interval(returns.tolist())
    return Quality("return", float(returns.mean()), low, high, len(episodes))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of a run; latencies in µs, counts in ticks.

    Attributes:
        mode: `lockstep`, `realtime` or `stream`.
        lost_rows: rows that never reached the file.
        rate_hz: control rate.
        speed: rate / the task's own rate; None in lockstep.
        score: success share or mean return.
        invalid_episodes: episodes in which the simulation broke.
        safe_episodes: episodes that reached SAFE or STOP.
        ticks_due: ticks that were due.
        applied: ticks with a fresh command.
        held: ticks that repeated the last command.
        held_by_cause: held ticks by the name of their cause.
        skipped: ticks that never ran.
        misses: ticks without a fresh command by the deadline, held and skipped ones included.
        longest_miss_run: consecutive misses at most.
        clamped: ticks whose command the guard changed.
        inference_us: the policy's inference.
        round_trip_us: from sending an observation to the arrival of its action.
        round_trip_p50_interval_us: 95 % interval of the median round trip; None without answers.
        lateness_us: from due to waking up.
        due_to_applied_us: from due to handing over the command.
        age_us: age of the observation behind an applied command.
        apply_jitter_us: jitter of the hand-over, see `apply_jitter_ns`.
        stages_p50_us: median of each stage, by the stamp that ends it; without the stages of the wire where robot
            and server have different clocks.
        transport: `lane`, `zmq` or `in process`; empty for older traces.
    """

    mode: str
    lost_rows: int
    rate_hz: float
    speed: float | None
    score: Quality
    invalid_episodes: int
    safe_episodes: int
    ticks_due: int
    applied: int
    held: int
    held_by_cause: dict[str, int]
    skipped: int
    misses: int
    longest_miss_run: int
    clamped: int
    inference_us: Percentiles
    round_trip_us: Percentiles
    round_trip_p50_interval_us: tuple[float, float] | None
    lateness_us: Percentiles
    due_to_applied_us: Percentiles
    age_us: Percentiles
    apply_jitter_us: Percentiles
    stages_p50_us: dict[str, float]
    transport: str = ""

    @property
    def two_clocks(self) -> bool:
        """Whether robot and server have different clocks."""
        return bool(self.stages_p50_us) and WIRE[0] not in self.stages_p50_us


def summary(trace: Trace) -> Summary:
    """Return the figures of a run."""
    rows, header = trace.rows, trace.header
    stamps = rows["stamps"]
    woke, answered = stamps[:, WOKE] > 0, stamps[:, ARRIVED] > 0
    late = (stamps[:, APPLIED_AT] - stamps[:, DUE] > header.deadline_ns) & (header.deadline_ns > 0)
    missed = (rows["kind"] != APPLIED) | late
    round_trip = (stamps[:, ARRIVED] - stamps[:, SENT])[answered]
    comparable = one_clock(stamps[answered])
    stages = stages_ns(stamps[answered] if comparable else on_the_robots_clock(stamps[answered]))
    return Summary(
        mode=header.mode,
        lost_rows=trace.lost,
        rate_hz=header.rate_hz,
        speed=header.rate_hz / header.task_rate_hz if header.mode != "lockstep" else None,
        score=quality(trace),
        invalid_episodes=int((rows["end"] == INVALID).sum()),
        safe_episodes=len(np.unique(rows["episode"][rows["state"] >= State.SAFE])),
        ticks_due=len(rows),
        applied=int((rows["kind"] == APPLIED).sum()),
        held=int((rows["kind"] == HELD).sum()),
        held_by_cause=_causes(rows["cause"][rows["kind"] == HELD]),
        skipped=int((rows["kind"] == SKIPPED).sum()),
        misses=int(missed.sum()),
        longest_miss_run=longest_run(missed),
        clamped=int(rows["clamped"].sum()),
        inference_us=percentiles_us((stamps[:, INFERRED] - stamps[:, STARTED])[answered]),
        round_trip_us=percentiles_us(round_trip),
        round_trip_p50_interval_us=_p50_interval_us(round_trip),
        lateness_us=percentiles_us((stamps[:, WOKE] - stamps[:, DUE])[woke]),
        due_to_applied_us=percentiles_us((stamps[:, APPLIED_AT] - stamps[:, DUE])[woke]),
        age_us=percentiles_us(rows["age_ns"][rows["kind"] == APPLIED]),
        apply_jitter_us=percentiles_us(apply_jitter_ns(rows)),
        stages_p50_us={
            name: float(np.median(stage) / 1e3)
            for name, stage in zip(STAMPS[1:], stages.T, strict=True)
            if len(stage) and (comparable or name not in WIRE)
        },
        transport=header.transport,
    )


def apply_jitter_ns(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the jitter of the hand-overs, within episodes [ns].

    It is |interval between consecutive hand-overs - interval between their due times|.
    """
    ran = rows[rows["kind"] != SKIPPED]
    applied, due = ran["stamps"][:, APPLIED_AT], ran["stamps"][:, DUE]
    jitter: NDArray[np.int64] = np.abs(np.diff(applied) - np.diff(due))[np.diff(ran["episode"]) == 0]
    return jitter


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _causes(held: NDArray[np.uint8]) -> dict[str, int]:
    """Return the number of held ticks by cause.

    Older traces, without causes, have 0 there.
    """
    causes, counts = np.unique(held[held > 0], return_counts=True)
    return {Cause(int(cause)).name.lower(): int(n) for cause, n in zip(causes, counts, strict=True)}


def _p50_interval_us(values_ns: NDArray[np.int64]) -> tuple[float, float] | None:
    if len(values_ns) == 0:
        return None
    low, high = block_interval(values_ns, lambda v: float(np.median(v)))
    return low / 1e3, high / 1e3
