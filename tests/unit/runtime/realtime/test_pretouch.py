"""Pre-touch: the expected arrival of the next message, and the lead of a pre-touch run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.realtime.pretouch import Arrivals, PreTouch
from odeploy_runtime.testing import FakeClock

T = 10_000_000
delays = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30)


@given(delays, st.integers(-(10**15), 10**15))
def test_the_next_message_is_expected_after_one_period_and_the_shortest_delay_so_far(
    delays_ns: list[int], offset_ns: int
) -> None:
    """`offset_ns` lies between the two clocks, which may differ; the shortest delay grows by 1 µs a message."""
    arrivals = Arrivals()
    for k, delay_ns in enumerate(delays_ns):
        sent_ns = 10**16 + k * T
        received_ns = sent_ns + offset_ns + delay_ns
        ahead_ns = arrivals.next_ns(sent_ns, received_ns, T) - (sent_ns + offset_ns + T)
        assert ahead_ns == min(delay + 1000 * (k - i) for i, delay in enumerate(delays_ns[: k + 1]))


def test_a_pre_touch_run_begins_its_length_and_a_margin_before_the_message() -> None:
    assert PreTouch(10_000, FakeClock()).begin_ns(10**12, T) == 10**12 - 6 * 10_000 - 120_000


@pytest.mark.parametrize(
    ("rate_hz", "room"), [(50, True), (1000, True), (3000, True), (4000, False), (10_000, False)]
)
def test_a_short_period_has_no_pre_touch_run(rate_hz: int, room: bool) -> None:
    begin_ns = PreTouch(10_000, FakeClock()).begin_ns(10**12, 10**9 // rate_hz)
    assert (begin_ns is not None) == room


def test_a_pre_touch_run_makes_the_call_twice() -> None:
    called: list[int] = []
    PreTouch(10_000, FakeClock()).run(lambda: called.append(1))
    assert len(called) == 2


@pytest.mark.parametrize("took_ns", [20_000, 300_000, 2_000_000])
def test_the_lead_converges_so_that_nine_of_ten_pre_touch_runs_end_before_the_message(took_ns: int) -> None:
    """One of ten runs takes ten times as long: the lead converges between the two durations."""
    clock = FakeClock()
    touch = PreTouch(10_000, clock)

    calls = iter(range(10**6))

    def call() -> None:
        clock.ns += (10 if next(calls) % 20 == 0 else 1) * took_ns // 2

    for _ in range(4000):
        touch.run(call)
    lead_ns = 10**12 - (touch.begin_ns(10**12, 10**12) or 0) - 120_000
    assert 0.8 * took_ns < lead_ns < 10 * took_ns
