"""Stamps of two clocks: found by their order; no stage is a difference of both."""

from typing import Any

import numpy as np
import pytest

from odeploy_runtime.reports.latency import stages_ns, summary, totals_ns
from odeploy_runtime.reports.two_clocks import on_the_robots_clock, one_clock
from odeploy_runtime.trace.format import APPLIED, HELD, STAMPS, Trace
from tests.unit.runtime import traces

HOUR_NS = 3_600_000_000_000
SERVER = "received", "started", "inferred", "replied"


def answered(shift_ns: int = 0, at_ns: int = 10**13) -> dict[str, int]:
    """Return the stamps of a tick whose stages take 1, 2, … 10 µs, with the server's clock ahead by `shift_ns`."""
    times = at_ns + 1000 * np.cumsum(range(len(STAMPS)))
    return {name: int(t) + shift_ns * (name in SERVER) for name, t in zip(STAMPS, times, strict=True)}


def rows(*stamps: dict[str, int]) -> Any:
    return traces.rows(*({"kind": APPLIED, "stamps": each} for each in stamps))


@pytest.mark.parametrize("shift_ns", [-HOUR_NS, -4001, 8001, HOUR_NS])
def test_a_shifted_clock_is_found_whichever_is_ahead(shift_ns: int) -> None:
    assert one_clock(rows(answered())["stamps"])
    assert not one_clock(rows(answered(shift_ns))["stamps"])


def test_the_first_twenty_answers_decide() -> None:
    good, bad = [answered()], [answered(HOUR_NS)]
    assert not one_clock(rows(*19 * good, *bad)["stamps"])
    assert one_clock(rows(*20 * good, *bad)["stamps"])
    assert one_clock(rows()["stamps"])


@pytest.mark.parametrize("shift_ns", [-HOUR_NS, HOUR_NS])
def test_on_the_robots_clock_the_way_back_takes_the_time_of_both_ways(shift_ns: int) -> None:
    stamps = rows(answered(shift_ns), {"due": 5, "woke": 6, "applied": 9})["stamps"]
    shifted = on_the_robots_clock(stamps)
    stages = dict(zip(STAMPS[1:], stages_ns(shifted)[0].tolist(), strict=True))
    both_ways = {"received": 0, "arrived": 4000 + 8000}
    assert stages == {name: 1000 * i for i, name in enumerate(STAMPS) if i} | both_ways
    assert (stages_ns(shifted).sum(axis=1) == totals_ns(shifted)).all()
    np.testing.assert_array_equal(shifted[1], stamps[1])  # no server stamps, nothing to shift


def test_the_figures_of_two_clocks_are_those_of_one_without_the_stages_of_the_wire() -> None:
    header = traces.header()
    held = traces.rows({"kind": HELD, "stamps": {"due": 10**13, "woke": 10**13 + 5, "applied": 10**13 + 9}})
    one, two = (
        summary(Trace(header, np.concatenate([rows(*30 * [answered(shift)]), held]))) for shift in (0, HOUR_NS)
    )
    assert not one.two_clocks
    assert two.two_clocks
    assert one.stages_p50_us.keys() - two.stages_p50_us.keys() == {"received", "arrived"}
    assert two.stages_p50_us == {n: v for n, v in one.stages_p50_us.items() if n in two.stages_p50_us}
    left = [{n: v for n, v in vars(run).items() if n != "stages_p50_us"} for run in (one, two)]
    assert left[0] == left[1]


def test_a_run_without_answers_shows_nothing_of_clocks() -> None:
    assert not summary(Trace(traces.header(), rows({"due": 1, "woke": 2, "applied": 3}))).two_clocks
