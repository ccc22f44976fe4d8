"""The guard: over all interleavings of what may arrive, what leaves is finite, within limits, and explained."""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.guard import Guard, State
from runtime.signals import Signal

Floats = NDArray[np.float32]
Event = Floats | Literal["nothing", "rearm"]

SIGNALS = (
    Signal("bounded", "1", -1.0, 1.0),
    Signal("slow", "1", -2.0, 2.0, max_step=0.25),
    Signal("free", "1"),
)
SAFE_ACTION = np.array([0.0, 0.5, -3.0], np.float32)
LOW = np.array([-1.0, -2.0, -np.inf], np.float32)
HIGH = np.array([1.0, 2.0, np.inf], np.float32)
MAX_STEP = np.array([np.inf, 0.25, np.inf], np.float32)

numbers = st.one_of(
    st.floats(-1, 1, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
tame = st.floats(-1, 1, width=32)
actions = st.one_of(st.tuples(tame, tame, tame), st.tuples(numbers, numbers, numbers)).map(
    lambda values: np.array(values, np.float32)
)
events: st.SearchStrategy[list[Event]] = st.lists(
    st.one_of(actions, st.just("nothing"), st.sampled_from(["nothing", "nothing", "nothing", "rearm"])),
    max_size=60,
)
rates = st.sampled_from([1.0, 5.0, 20.0, 50.0, 1000.0])


def make(rate_hz: float = 100.0) -> Guard:
    return Guard(SIGNALS, SAFE_ACTION, rate_hz)


def entered_safe(rate_hz: float = 100.0) -> Guard:
    """A guard at its first tick in SAFE."""
    guard = make(rate_hz)
    while guard.state is not State.SAFE:
        guard.nothing()
    return guard


def tell(guard: Guard, event: Event) -> Floats | None:
    """The command that follows; None for a re-arming, which commands nothing."""
    if isinstance(event, np.ndarray):
        return guard.fresh(event)
    if event == "nothing":
        return guard.nothing()
    guard.rearm()
    return None


@given(events, rates)
def test_every_command_is_finite_and_within_limits(told: list[Event], rate_hz: float) -> None:
    guard = make(rate_hz)
    for event in told:
        command = tell(guard, event)
        if command is not None:
            assert command.shape == (3,)
            assert np.isfinite(command).all()
            assert (command >= LOW).all()
            assert (command <= HIGH).all()


@given(events, rates)
def test_a_command_in_run_changes_by_no_more_than_max_step_from_the_last_applied(
    told: list[Event], rate_hz: float
) -> None:
    guard, applied = make(rate_hz), SAFE_ACTION
    for event in told:
        command = tell(guard, event)
        if command is None:
            applied = SAFE_ACTION
            continue
        if guard.state is State.RUN:
            assert (command <= applied + MAX_STEP).all()
            assert (command >= applied - MAX_STEP).all()
        applied = command.copy()


@given(events, rates)
def test_a_good_action_in_run_passes_as_it_is(told: list[Event], rate_hz: float) -> None:
    guard, applied = make(rate_hz), SAFE_ACTION
    for event in told:
        command = tell(guard, event)
        good = (
            isinstance(event, np.ndarray)
            and bool(np.isfinite(event).all())
            and bool(((event >= LOW) & (event <= HIGH)).all())
            and bool(((event >= applied - MAX_STEP) & (event <= applied + MAX_STEP)).all())
        )
        if good and guard.state is State.RUN:
            assert command is not None
            np.testing.assert_array_equal(command, event)
        applied = SAFE_ACTION if command is None else command.copy()


@given(events, rates)
def test_hold_repeats_the_last_applied_command(told: list[Event], rate_hz: float) -> None:
    guard, applied = make(rate_hz), SAFE_ACTION
    for event in told:
        command = tell(guard, event)
        if command is not None and guard.state is State.HOLD:
            np.testing.assert_array_equal(command, applied)
        applied = SAFE_ACTION if command is None else command.copy()


@given(events, rates)
def test_safe_is_latched_until_rearmed_and_commands_the_safe_action(told: list[Event], rate_hz: float) -> None:
    guard, was = make(rate_hz), State.RUN
    for event in told:
        command = tell(guard, event)
        if command is None:
            assert guard.state is State.RUN
        else:
            if was >= State.SAFE:
                assert guard.state >= was
            if guard.state >= State.SAFE:
                np.testing.assert_array_equal(command, SAFE_ACTION)
        was = guard.state


@given(events, rates)
def test_every_tick_is_counted_once(told: list[Event], rate_hz: float) -> None:
    guard, states = make(rate_hz), []
    for event in told:
        if tell(guard, event) is not None:
            states.append(guard.state)
    assert guard.counts.held == states.count(State.HOLD)
    assert guard.counts.safe == states.count(State.SAFE) + states.count(State.STOP)


@given(events)
def test_safe_has_one_of_three_causes(told: list[Event]) -> None:
    """An independent count of misses, bad numbers and clamps, which says when RUN must end and when not."""
    guard, applied, missing, bad, clamped, safe = make(), SAFE_ACTION, 0, 0, 0, False
    for event in told:
        command = tell(guard, event)
        if command is None:
            applied, missing, bad, clamped, safe = SAFE_ACTION, 0, 0, 0, False
            continue
        if isinstance(event, np.ndarray) and np.isfinite(event).all():
            missing = bad = 0
            possible = np.clip(np.clip(event, applied - MAX_STEP, applied + MAX_STEP), LOW, HIGH)
            clamped = 0 if (possible == event).all() else clamped + 1
        else:
            missing += 1
            bad += isinstance(event, np.ndarray)
        safe = safe or missing >= 10 or bad >= 3 or clamped >= 10
        assert (guard.state >= State.SAFE) == safe
        applied = command.copy()


@pytest.mark.parametrize("rate_hz", [1, 2, 10, 25, 29, 30, 31, 50, 70, 99, 100, 125, 200, 201, 500, 1000])
def test_safe_follows_after_three_to_twenty_ticks_or_100_ms_without_a_fresh_action(rate_hz: int) -> None:
    guard = make(rate_hz)
    wanted = max(3, min(20, -(-rate_hz // 10)))
    for _ in range(wanted - 1):
        guard.nothing()
        assert guard.state is State.HOLD
    np.testing.assert_array_equal(guard.nothing(), SAFE_ACTION)
    assert guard.state is State.SAFE


@pytest.mark.parametrize("rate_hz", [1, 3, 50, 125, 1000])
def test_stop_follows_after_one_second_of_safe(rate_hz: int) -> None:
    guard = entered_safe(rate_hz)
    states = [guard.state for _ in range(rate_hz) if guard.nothing() is not None]
    assert states == [State.SAFE] * (rate_hz - 1) + [State.STOP]


def test_stop_follows_although_fresh_actions_come_again() -> None:
    guard, good = entered_safe(), np.zeros(3, np.float32)
    states = [guard.state for _ in range(101) if guard.fresh(good) is not None]
    assert states[98] is State.SAFE
    assert states[99] is State.STOP


def test_one_fresh_action_ends_a_hold_and_the_count_begins_anew() -> None:
    guard, good = make(), SAFE_ACTION
    for _ in range(3):
        for _ in range(9):
            guard.nothing()
        guard.fresh(good)
        assert guard.state is State.RUN


def test_three_actions_that_are_not_finite_in_a_row_are_safe_and_two_are_not() -> None:
    guard, bad = make(), np.array([0, math.nan, 0], np.float32)
    for _ in range(5):
        guard.fresh(bad)
        guard.fresh(bad)
        assert guard.state is State.HOLD
        guard.fresh(SAFE_ACTION)
    guard.fresh(bad)
    guard.fresh(bad)
    np.testing.assert_array_equal(guard.fresh(bad), SAFE_ACTION)
    assert guard.state is State.SAFE
    assert guard.counts.not_finite == 13


def test_ten_clamped_actions_in_a_row_are_safe_and_nine_are_not() -> None:
    guard, wild = make(), np.array([2, 0.5, -3], np.float32)
    for _ in range(9):
        np.testing.assert_array_equal(guard.fresh(wild), np.array([1, 0.5, -3], np.float32))
    guard.fresh(SAFE_ACTION)
    for _ in range(9):
        guard.fresh(wild)
        assert guard.state is State.RUN
    np.testing.assert_array_equal(guard.fresh(wild), SAFE_ACTION)
    assert guard.state is State.SAFE
    assert guard.counts.clamped == 19


def test_an_action_is_clamped_against_the_last_applied_one_not_the_last_wanted() -> None:
    guard = make()
    wanted = np.array([0, 2, -3], np.float32)
    steps = [float(guard.fresh(wanted)[1]) for _ in range(4)]
    assert steps == [0.75, 1.0, 1.25, 1.5]


def test_a_rearmed_guard_ramps_from_the_safe_action() -> None:
    guard = make()
    for _ in range(6):
        guard.fresh(np.array([0, 2, -3], np.float32))
    guard.rearm()
    assert guard.fresh(np.array([0, 2, -3], np.float32))[1] == 0.75


def test_a_clamped_command_is_a_new_array_and_the_action_stays_as_it_was() -> None:
    guard, wild = make(), np.array([9, 9, 9], np.float32)
    wild.setflags(write=False)
    command = guard.fresh(wild)
    assert not np.shares_memory(command, wild)
    np.testing.assert_array_equal(wild, [9, 9, 9])


def test_states_have_the_numbers_that_traces_hold() -> None:
    assert {state.name: int(state) for state in State} == {"RUN": 0, "HOLD": 1, "SAFE": 2, "STOP": 3}
