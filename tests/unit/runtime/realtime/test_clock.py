"""Clock: a grid computed from the tick's number, and skipped overruns."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.realtime.clock import MonotonicClock, Rate, Tick, in_order, steal_ticks
from odeploy_runtime.testing import FakeClock

works = st.lists(st.integers(0, 50_000_000), max_size=40)  # duration of each tick [ns], at most five periods


@pytest.mark.parametrize("rate_hz", [1.0, 60.0, 100.0, 1000.0])
def test_ticks_are_due_on_an_absolute_grid_that_begins_one_period_from_now(rate_hz: float) -> None:
    clock = FakeClock()
    start_ns, period_ns = clock.ns, round(1e9 / rate_hz)
    rate = Rate(rate_hz, clock)
    for k in range(20):
        due_ns = start_ns + (k + 1) * period_ns
        assert rate.wait() == Tick(k, due_ns, due_ns)
        assert rate.due_ns(k) == due_ns


@given(works)
def test_every_tick_runs_within_its_own_period_and_none_runs_twice(durations: list[int]) -> None:
    clock = FakeClock()
    rate, start_ns = Rate(100.0, clock), clock.ns + 10_000_000
    last = -1
    for work in durations:
        before_ns = clock.ns
        tick = rate.wait()
        assert tick.number > last
        assert tick.due_ns == start_ns + tick.number * rate.period_ns
        assert tick.woke_ns == max(before_ns, tick.due_ns)
        assert tick.woke_ns - tick.due_ns < rate.period_ns
        last, clock.ns = tick.number, clock.ns + work


@given(works)
def test_ticks_are_skipped_for_each_whole_overrun_period(durations: list[int]) -> None:
    clock = FakeClock()
    rate = Rate(100.0, clock)
    tick = rate.wait()
    for work in durations:
        clock.ns += work
        done_ns = clock.ns
        following = rate.wait()
        skipped = range(tick.number + 1, following.number)
        assert all(rate.due_ns(k + 1) <= done_ns for k in skipped)
        tick = following


def test_a_stall_is_skipped_without_a_burst() -> None:
    clock = FakeClock()
    rate = Rate(100.0, clock)
    rate.wait()
    clock.ns += 74_000_000
    late = rate.wait()
    assert (late.number, late.woke_ns - late.due_ns) == (7, 4_000_000)
    assert rate.wait().number == 8
    assert clock.ns == late.due_ns + rate.period_ns


def test_a_restarted_grid_begins_at_zero_one_period_from_now() -> None:
    clock = FakeClock()
    rate = Rate(100.0, clock)
    rate.wait()
    clock.ns += 123_456
    now_ns = clock.ns
    rate.restart()
    assert rate.wait() == Tick(0, now_ns + 10_000_000, now_ns + 10_000_000)


def test_the_callback_before_a_tick_gets_the_due_time_and_runs_before_it() -> None:
    clock, calls = FakeClock(), []
    rate = Rate(100.0, clock)
    tick = rate.wait(lambda due_ns: calls.append((due_ns, clock.ns)))
    assert calls == [(tick.due_ns, tick.due_ns - 10_000_000)]


def test_the_monotonic_clock_is_shared_by_all_processes() -> None:
    before, now, after = time.monotonic_ns(), MonotonicClock().now_ns(), time.monotonic_ns()
    assert before <= now <= after
    printed = subprocess.run(
        [sys.executable, "-S", "-c", "import time; print(time.monotonic_ns())"], capture_output=True, check=True
    )
    assert after <= int(printed.stdout) <= time.monotonic_ns()


def test_a_sleep_ends_not_before_its_deadline_and_at_once_if_it_has_passed() -> None:
    clock = MonotonicClock()
    deadline_ns = clock.now_ns() + 2_000_000
    clock.sleep_until_ns(deadline_ns)
    assert clock.now_ns() >= deadline_ns
    clock.sleep_until_ns(0)
    clock.sleep_until_ns(-(10**18))


def test_a_spinning_sleep_does_not_end_before_its_deadline() -> None:
    clock = MonotonicClock(spin_ns=200_000)
    for ahead_ns in (50_000, 2_000_000):
        deadline_ns = clock.now_ns() + ahead_ns
        clock.sleep_until_ns(deadline_ns)
        assert clock.now_ns() >= deadline_ns
    clock.sleep_until_ns(0)


def test_steal_ticks_do_not_decrease() -> None:
    first = steal_ticks()
    assert 0 <= first <= steal_ticks()


def test_stamps_are_in_order_if_none_is_before_an_earlier_one_and_missing_ones_do_not_count() -> None:
    assert in_order((1, 2, 2, 5))
    assert in_order((1, 0, 2, 0, 0))
    assert in_order(())
    assert not in_order((1, 3, 2))
    assert not in_order((3, 0, 2))
