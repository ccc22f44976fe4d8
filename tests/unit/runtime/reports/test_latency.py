"""Latency figures: stages that add up, misses, and results checked by hand."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from odeploy_runtime.reports.latency import (
    Summary,
    apply_jitter_ns,
    longest_run,
    quality,
    stages_ns,
    summary,
    totals_ns,
)
from odeploy_runtime.reports.statistics import wilson_interval
from odeploy_runtime.safety.states import Cause, State
from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, HELD, INVALID, SKIPPED, STAMPS, STOPPED, Trace
from odeploy_runtime.typed_json import from_json, to_json
from tests.unit.runtime import traces

MS = 1_000_000


@st.composite
def stamped(draw: st.DrawFn) -> list[int]:
    """Draw monotone stamps; any but the first may be missing (0)."""
    steps = draw(st.lists(st.integers(0, 10**9), min_size=len(STAMPS) - 1, max_size=len(STAMPS) - 1))
    times = itertools.accumulate([draw(st.integers(1, 2**62)), *steps])
    present = draw(st.lists(st.booleans(), min_size=len(STAMPS), max_size=len(STAMPS)))
    return [t if here or i == 0 else 0 for i, (t, here) in enumerate(zip(times, present, strict=True))]


def answered(due: int, **changes: int) -> dict[str, int]:
    """Return the stamps of an answered tick: each 100 µs after the previous one."""
    return {name: due + 100_000 * i for i, name in enumerate(STAMPS)} | changes


def held(due: int) -> dict[str, int]:
    return {
        "due": due,
        "woke": due + 50_000,
        "observed": due + 60_000,
        "sent": due + 80_000,
        "applied": due + 4 * MS,
        "stepped": due + 5 * MS,
    }


def trace(*rows: dict[str, Any], **changes: Any) -> Trace:
    return Trace(traces.header(**changes), traces.rows(*rows))


# ---- stages


@given(st.lists(stamped(), min_size=1, max_size=8))
def test_stages_add_up_to_the_total_for_any_missing_stamps(rows: list[list[int]]) -> None:
    stamps = np.array(rows, np.int64)
    stages = stages_ns(stamps)
    assert stages.shape == (len(rows), len(STAMPS) - 1)
    assert (stages >= 0).all()
    np.testing.assert_array_equal(stages.sum(axis=1), totals_ns(stamps))
    np.testing.assert_array_equal(totals_ns(stamps), [max(row) - row[0] for row in rows])


@given(stamped())
def test_each_stage_is_the_time_since_the_last_present_stamp(row: list[int]) -> None:
    stages = stages_ns(np.array([row], np.int64))[0]
    last = row[0]
    for stage, stamp in zip(stages, row[1:], strict=True):
        assert stage == (stamp - last if stamp else 0)
        last = stamp or last


def test_a_held_tick_has_only_its_own_stages() -> None:
    stages = dict(zip(STAMPS[1:], stages_ns(np.array([traces.stamps(**held(10**12))], np.int64))[0], strict=True))
    assert {name: int(ns) for name, ns in stages.items() if ns} == {
        "woke": 50_000,
        "observed": 10_000,
        "sent": 20_000,
        "applied": 4 * MS - 80_000,
        "stepped": MS,
    }


def test_a_skipped_tick_has_no_duration() -> None:
    skipped = np.array([traces.stamps(due=10**12)], np.int64)
    assert totals_ns(skipped)[0] == 0
    assert not stages_ns(skipped).any()


# ---- misses


def test_the_counts_of_a_run_equal_those_by_hand() -> None:
    run = trace(
        {"kind": APPLIED, "stamps": answered(10 * MS), "clamped": 1},
        {"kind": HELD, "tick": 1, "stamps": held(15 * MS)},
        {"kind": SKIPPED, "tick": 2, "stamps": {"due": 20 * MS}},
        {"kind": APPLIED, "tick": 3, "stamps": answered(25 * MS, applied=25 * MS + 4 * MS + 1)},
        {"kind": APPLIED, "tick": 4, "stamps": answered(30 * MS, applied=30 * MS + 4 * MS)},
        {"kind": SKIPPED, "tick": 5, "stamps": {"due": 35 * MS}},
    )
    figures = summary(run)
    counts = ("ticks_due", "applied", "held", "skipped", "misses", "longest_miss_run", "clamped")
    assert [getattr(figures, name) for name in counts] == [6, 3, 1, 2, 4, 3, 1]


def test_latency_counts_from_the_due_time_so_that_a_stall_is_visible() -> None:
    """A stall of 40 ms at 200 Hz: one late tick, seven skipped ones, all of them misses."""
    due = 10**12
    stalled = {
        "kind": APPLIED,
        "stamps": answered(due, **{n: t + 40 * MS for n, t in answered(due).items() if n != "due"}),
    }
    skipped = [{"kind": SKIPPED, "tick": i, "stamps": {"due": due + i * 5 * MS}} for i in range(1, 8)]
    figures = summary(trace(stalled, *skipped))
    assert figures.misses == figures.longest_miss_run == 8
    assert figures.lateness_us["max"] == pytest.approx(40_100)
    assert figures.due_to_applied_us["max"] == pytest.approx(40_900)
    assert figures.round_trip_us["max"] == pytest.approx(500)


def test_in_lockstep_nothing_is_late_and_there_is_no_speed() -> None:
    slow = {"kind": APPLIED, "stamps": answered(10**12, applied=10**12 + 10**10, stepped=10**12 + 10**10)}
    figures = summary(trace(slow, mode="lockstep", deadline_ns=0))
    assert (figures.misses, figures.speed) == (0, None)


def test_the_speed_is_the_rate_over_the_tasks_rate() -> None:
    assert summary(trace({"stamps": answered(10**12)})).speed == 2.0


def test_the_figures_of_one_tick_are_the_differences_of_its_stamps() -> None:
    figures = summary(trace({"kind": APPLIED, "stamps": answered(10**12), "age_ns": 123_000}))
    percentiles = {name: value for name, value in vars(figures).items() if isinstance(value, dict)}
    p50 = {name: value["p50"] for name, value in percentiles.items() if "p50" in value}
    assert p50 == pytest.approx(
        {"inference_us": 100, "round_trip_us": 500, "lateness_us": 100, "due_to_applied_us": 900, "age_us": 123}
        | {"apply_jitter_us": None}
    )
    assert figures.round_trip_p50_interval_us == pytest.approx((500, 500))
    assert figures.stages_p50_us == pytest.approx(dict.fromkeys(STAMPS[1:], 100))


def test_held_and_skipped_ticks_do_not_count_in_round_trips_and_ages() -> None:
    figures = summary(
        trace(
            {"kind": HELD, "stamps": held(10**12), "age_ns": 77},
            {"kind": SKIPPED, "tick": 1, "stamps": {"due": 10**12 + 5 * MS}},
        )
    )
    assert figures.round_trip_us["max"] is None
    assert figures.inference_us["max"] is None
    assert figures.age_us["max"] is None
    assert figures.round_trip_p50_interval_us is None
    assert figures.lateness_us["max"] == pytest.approx(50)


def test_the_summary_of_an_empty_trace_is_json_too() -> None:
    for scored_by in ("success", "return"):
        figures = json.loads(to_json(summary(trace(scored_by=scored_by))))
        assert (figures["ticks_due"], figures["misses"], figures["longest_miss_run"]) == (0, 0, 0)


def test_the_summary_of_any_run_is_json() -> None:
    run = summary(trace({"stamps": answered(10**12)}, {"kind": HELD, "stamps": held(10**12)}))
    assert from_json(Summary, to_json(run), "here") == run


@given(st.lists(st.booleans()))
def test_the_longest_run_equals_a_plain_count(flags: list[bool]) -> None:
    longest = max((len(list(run)) for value, run in itertools.groupby(flags) if value), default=0)
    assert longest_run(np.array(flags, bool)) == longest


# ---- jitter


def applied_at(*pairs: tuple[int, int, int]) -> NDArray[np.void]:
    """Return rows from (episode, due, applied)."""
    return traces.rows(*({"episode": e, "stamps": {"due": d, "applied": a}} for e, d, a in pairs))


def test_jitter_is_the_variation_of_the_applied_time_against_the_grid() -> None:
    rows = applied_at((0, 0, 10), (0, 100, 110), (0, 200, 240), (0, 300, 320))
    assert apply_jitter_ns(rows).tolist() == [0, 30, 20]


def test_jitter_is_within_episodes_and_excludes_the_due_time_of_skipped_ticks() -> None:
    rows = applied_at((0, 100, 110), (0, 300, 320), (1, 900, 910), (1, 1000, 1010))
    assert apply_jitter_ns(rows).tolist() == [10, 0]
    rows["kind"][1] = SKIPPED
    assert apply_jitter_ns(rows).tolist() == [0]


# ---- quality


def episodes(*ended: tuple[int, bool]) -> Trace:
    """Return a trace from (ticks, success of the last one) of each episode."""
    rows = []
    for number, (ticks, success) in enumerate(ended):
        for tick in range(ticks):
            last = tick == ticks - 1
            rows.append(
                {
                    "episode": number,
                    "tick": tick,
                    "reward": 0.5,
                    "success": last and success,
                    "end": ENDED if last else GOES_ON,
                }
            )
    return trace(*rows)


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=20))
def test_the_score_is_the_share_of_episodes_with_a_successful_last_tick(ended: list[tuple[int, bool]]) -> None:
    found = quality(episodes(*ended))
    successes = sum(success for _, success in ended)
    assert (found.scored_by, found.episodes) == ("success", len(ended))
    assert found.value == pytest.approx(successes / len(ended))
    assert (found.low, found.high) == wilson_interval(successes, len(ended))


def test_a_success_before_the_last_tick_does_not_count() -> None:
    run = trace({"success": 1}, {"tick": 1, "success": 0, "end": ENDED})
    assert quality(run).value == 0


@pytest.mark.parametrize("scored_by", ["success", "return"])
def test_an_interrupted_or_broken_episode_is_not_scored(scored_by: str) -> None:
    whole = {"episode": 0, "success": 1, "reward": 3.0, "end": ENDED}
    broken, interrupted = {"episode": 1, "reward": 9.0, "end": INVALID}, {"episode": 2, "reward": 9.0}
    run = trace(whole, broken, interrupted, scored_by=scored_by)
    assert quality(run) == quality(trace(whole, scored_by=scored_by))
    assert summary(run).invalid_episodes == 1


def test_the_return_is_the_mean_over_episodes_of_summed_rewards() -> None:
    rows = [
        {"episode": e, "tick": t, "reward": r, "end": ENDED if t == 1 else GOES_ON}
        for e, t, r in [(0, 0, 1.0), (0, 1, 2.0), (2, 0, 5.0), (2, 1, 0.5)]
    ]
    found = quality(trace(*rows, scored_by="return"))
    assert (found.scored_by, found.episodes) == ("return", 2)
    assert found.value == pytest.approx(4.25)
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(5.5)


def test_the_score_of_no_episodes_has_the_widest_interval() -> None:
    assert (quality(trace()).low, quality(trace()).high) == (0, 1)
    assert quality(trace(scored_by="return")).episodes == 0


def test_held_ticks_are_counted_by_cause_if_the_trace_has_it() -> None:
    ticks: list[dict[str, Any]] = [
        {"kind": HELD, "cause": cause} for cause in (Cause.MISSING, Cause.STALE, Cause.MISSING, 0)
    ]
    figures = summary(trace(*ticks, {"kind": APPLIED, "cause": Cause.LIMITS}))
    assert figures.held_by_cause == {"missing": 2, "stale": 1}


def test_an_episode_that_went_to_safe_is_counted_once() -> None:
    states = [(0, State.SAFE), (0, State.STOP), (1, State.HOLD), (2, State.RUN), (3, State.SAFE)]
    figures = summary(trace(*[{"episode": episode, "state": state} for episode, state in states]))
    assert figures.safe_episodes == 2


def test_an_episode_stopped_by_the_operator_is_not_scored() -> None:
    ticks: list[dict[str, Any]] = [{"episode": 0, "end": STOPPED}, {"episode": 1, "end": ENDED, "success": 1}]
    assert summary(trace(*ticks)).score.episodes == 1
