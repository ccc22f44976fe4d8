"""The ledger: from stamps to stages that sum to the total, and from rows to the figures of a report.

Latency counts from when a tick was due, not from when the loop got round to it, so a stall cannot hide the
ticks that it delayed. Skipped ticks are rows too: they count as misses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.reports.statistics import block_interval, mean_interval, percentiles_us, wilson_interval
from odeploy_runtime.safety.states import Cause, State
from odeploy_runtime.trace.format import APPLIED, ENDED, HELD, INVALID, SKIPPED, STAMPS, Trace

DUE, WOKE, OBSERVED, SENT, RECEIVED, STARTED, INFERRED, REPLIED, ARRIVED, APPLIED_AT, STEPPED = range(len(STAMPS))


def stages_ns(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Consecutive differences, each named by the stamp that ends it.

    A stamp that did not happen (0) ends a stage of length 0, and the time up to the next real stamp falls to
    that one's stage; so each row sums to its last stamp minus its first.

    Args:
        stamps: Shape (rows, 11).

    Returns:
        Shape (rows, 10).
    """
    return np.diff(np.maximum.accumulate(stamps, axis=1), axis=1)


def totals_ns(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Last stamp minus due. Shape (rows,)."""
    total: NDArray[np.int64] = stamps.max(axis=1) - stamps[:, DUE]
    return total


@dataclass(frozen=True)
class Quality:
    """Success share or mean return over whole episodes, with a 95 % interval."""

    scored_by: str
    value: float
    low: float
    high: float
    episodes: int


def quality(trace: Trace) -> Quality:
    """What the robot achieved in the episodes that came to an end: one succeeds if its last tick did.

    An episode that was interrupted, or that the simulation broke, tells nothing of the policy.
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


def summary(trace: Trace) -> dict[str, Any]:
    """Every figure of a run, in µs and counts, ready for JSON."""
    rows, header = trace.rows, trace.header
    stamps = rows["stamps"]
    woke, answered = stamps[:, WOKE] > 0, stamps[:, ARRIVED] > 0
    late = (stamps[:, APPLIED_AT] - stamps[:, DUE] > header.deadline_ns) & (header.deadline_ns > 0)
    missed = (rows["kind"] != APPLIED) | late
    round_trip = (stamps[:, ARRIVED] - stamps[:, SENT])[answered]
    inference = (stamps[:, INFERRED] - stamps[:, STARTED])[answered]
    score = quality(trace)
    return {
        "mode": header.mode,
        "lost_rows": trace.lost,
        "rate_hz": header.rate_hz,
        "speed": header.rate_hz / header.task_rate_hz if header.mode != "lockstep" else None,
        "score": score.__dict__,
        "invalid_episodes": int((rows["end"] == INVALID).sum()),
        "safe_episodes": len(np.unique(rows["episode"][rows["state"] >= State.SAFE])),
        "ticks_due": len(rows),
        "applied": int((rows["kind"] == APPLIED).sum()),
        "held": int((rows["kind"] == HELD).sum()),
        "held_by_cause": _causes(rows["cause"][rows["kind"] == HELD]),
        "skipped": int((rows["kind"] == SKIPPED).sum()),
        "misses": int(missed.sum()),
        "longest_miss_run": longest_run(missed),
        "clamped": int(rows["clamped"].sum()),
        "inference_us": percentiles_us(inference),
        "round_trip_us": percentiles_us(round_trip),
        "round_trip_p50_interval_us": _p50_interval_us(round_trip),
        "lateness_us": percentiles_us((stamps[:, WOKE] - stamps[:, DUE])[woke]),
        "due_to_applied_us": percentiles_us((stamps[:, APPLIED_AT] - stamps[:, DUE])[woke]),
        "age_us": percentiles_us(rows["age_ns"][rows["kind"] == APPLIED]),
        "apply_jitter_us": percentiles_us(apply_jitter_ns(rows)),
        "stages_p50_us": {
            name: float(np.median(stage) / 1e3)
            for name, stage in zip(STAMPS[1:], stages_ns(stamps[answered]).T, strict=True)
            if len(stage)
        },
    }


def apply_jitter_ns(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """|difference of consecutive handing-over times - the same of their due times|, within episodes."""
    ran = rows[rows["kind"] != SKIPPED]
    applied, due = ran["stamps"][:, APPLIED_AT], ran["stamps"][:, DUE]
    jitter: NDArray[np.int64] = np.abs(np.diff(applied) - np.diff(due))[np.diff(ran["episode"]) == 0]
    return jitter


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _causes(held: NDArray[np.uint8]) -> dict[str, int]:
    """How many held ticks each cause has; traces from before there were causes say 0, which is none of a hold."""
    causes, counts = np.unique(held[held > 0], return_counts=True)
    return {Cause(int(cause)).name.lower(): int(n) for cause, n in zip(causes, counts, strict=True)}


def _p50_interval_us(values_ns: NDArray[np.int64]) -> tuple[float, float] | None:
    if len(values_ns) == 0:
        return None
    low, high = block_interval(values_ns, lambda v: float(np.median(v)))
    return low / 1e3, high / 1e3
