"""The safety states: each limit in time and number, each cause, and how each state ends."""

from collections import Counter

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.safety.states import BY_HAND, Cause, Operator, Safety, State, Transition

HANDS_OFF, STOP, OPEN = Operator(), Operator(stop=True), Operator(held=False)
RUN_, HOLD_, SAFE_, STOP_ = State


class Ticking:
    """Safety states of an armed robot that ticks on its grid."""

    def __init__(self, rate_hz: float = 100.0, rearm_after: int | None = None) -> None:
        self.safety = Safety(rate_hz, rearm_after)
        self.due_ns = 5_000_000_000
        self.safety.rearm(self.due_ns)
        self.safety.transitions.clear()

    def tick(self, *found: Cause, operator: Operator = HANDS_OFF, skipped: int = 0) -> State:
        """Return the state after ticks with these findings."""
        self.due_ns += skipped * self.safety.period_ns
        for each in found:
            self.due_ns += self.safety.period_ns
            self.safety.tick(self.due_ns, each, operator)
        return self.safety.state

    def moved(self) -> list[tuple[State, State, Cause]]:
        return [(t.before, t.after, t.cause) for t in self.safety.transitions.elements()]


def in_safe(cause: Cause = Cause.SILENCE, rearm_after: int | None = None) -> Ticking:
    """Return safety states at their first tick of SAFE."""
    robot = Ticking(rearm_after=rearm_after)
    if cause is Cause.DEAD_MAN:
        robot.tick(Cause.FRESH, operator=OPEN)
    else:
        found = {Cause.SILENCE: Cause.MISSING}.get(cause, cause)
        robot.tick(*[found] * {Cause.SILENCE: 10, Cause.NOT_FINITE: 3, Cause.LIMITS: 10}[cause])
    assert (robot.safety.state, robot.safety.cause) == (State.SAFE, cause)
    return robot


def test_states_and_causes_have_the_numbers_of_the_trace_format() -> None:
    assert [state.name for state in sorted(State)] == ["RUN", "HOLD", "SAFE", "STOP"]
    names = "FRESH LIMITS MISSING STALE NOT_FINITE SILENCE DEAD_MAN OPERATOR REARMED"
    assert " ".join(cause.name for cause in sorted(Cause)) == names
    assert (min(State), max(State), min(Cause), max(Cause)) == (0, 3, 0, 8)


def test_an_unarmed_robot_is_in_stop() -> None:
    safety = Safety(100.0)
    assert (safety.state, safety.cause) == (State.STOP, Cause.OPERATOR)
    assert safety.tick(1, Cause.FRESH, HANDS_OFF) is State.STOP
    safety.rearm(2)
    assert safety.transitions == {Transition(STOP_, RUN_, Cause.REARMED): 1}


@pytest.mark.parametrize("rearm_after", [0, -1])
def test_less_than_one_good_action_is_refused(rearm_after: int) -> None:
    with pytest.raises(UsageError) as raised:
        Safety(100.0, rearm_after)
    assert str(raised.value) == (
        "rearm_after: expected at least 1 good action, or none if only the operator re-arms, "
        f"got {rearm_after}; give for example 10"
    )


@pytest.mark.parametrize("found", [Cause.FRESH, Cause.LIMITS])
def test_a_fresh_or_clamped_action_is_run(found: Cause) -> None:
    robot = Ticking()
    assert robot.tick(found) is State.RUN
    assert robot.safety.cause is found
    assert robot.moved() == []


@pytest.mark.parametrize("found", [Cause.MISSING, Cause.STALE, Cause.NOT_FINITE])
def test_the_first_miss_is_hold_with_its_cause_and_one_good_action_ends_it(found: Cause) -> None:
    robot = Ticking()
    assert robot.tick(found) is State.HOLD
    assert robot.safety.cause is found
    assert robot.tick(Cause.FRESH) is State.RUN
    assert robot.moved() == [(RUN_, HOLD_, found), (HOLD_, RUN_, Cause.FRESH)]


def test_the_cause_of_hold_is_that_of_its_last_tick() -> None:
    robot = Ticking()
    robot.tick(Cause.MISSING, Cause.STALE)
    assert robot.safety.cause is Cause.STALE
    assert robot.moved() == [(RUN_, HOLD_, Cause.MISSING)]


@pytest.mark.parametrize("rate_hz", [1, 2, 10, 25, 29, 30, 31, 50, 70, 99, 100, 125, 200, 201, 500, 1000])
def test_safe_follows_after_three_to_twenty_ticks_or_100_ms_without_a_fresh_action(rate_hz: int) -> None:
    robot = Ticking(rate_hz)
    expected = max(3, min(20, -(-rate_hz // 10)))
    for _ in range(2):
        assert robot.tick(*[Cause.MISSING] * (expected - 1)) is State.HOLD
        assert robot.tick(Cause.FRESH) is State.RUN
    robot.tick(*[Cause.STALE] * (expected - 1))
    assert robot.tick(Cause.MISSING) is State.SAFE
    assert robot.safety.cause is Cause.SILENCE


def test_skipped_ticks_count_as_time_without_a_fresh_action() -> None:
    robot = Ticking()
    assert robot.tick(Cause.MISSING, skipped=8) is State.HOLD
    assert robot.tick(Cause.MISSING) is State.SAFE


def test_a_fresh_action_after_a_stall_is_run() -> None:
    assert Ticking().tick(Cause.FRESH, skipped=500) is State.RUN


@pytest.mark.parametrize("rate_hz", [1, 3, 50, 125, 1000])
def test_stop_follows_after_one_second_of_safe_even_with_fresh_actions(rate_hz: int) -> None:
    robot = Ticking(rate_hz)
    robot.tick(*[Cause.NOT_FINITE] * 3)
    assert robot.tick(*[Cause.FRESH] * (rate_hz - 1)) is State.SAFE
    assert robot.tick(Cause.FRESH) is State.STOP
    assert robot.moved()[-1] == (SAFE_, STOP_, Cause.NOT_FINITE)
    assert robot.tick(*[Cause.FRESH] * 3 * rate_hz) is State.STOP


def test_three_non_finite_actions_in_a_row_lead_to_safe_and_two_do_not() -> None:
    robot, bad = Ticking(), Cause.NOT_FINITE
    assert robot.tick(bad, bad, Cause.FRESH, bad, bad, Cause.LIMITS, bad, Cause.MISSING, bad) is State.HOLD
    assert robot.tick(bad) is State.SAFE
    assert robot.safety.cause is Cause.NOT_FINITE


def test_ten_clamped_actions_in_a_row_lead_to_safe_and_nine_do_not() -> None:
    robot, wild = Ticking(), Cause.LIMITS
    assert robot.tick(*[wild] * 9, Cause.FRESH, *[wild] * 8, Cause.MISSING, wild) is State.RUN
    assert robot.tick(wild) is State.SAFE
    assert robot.safety.cause is Cause.LIMITS


@pytest.mark.parametrize("found", list(Cause)[:5])
def test_the_operators_stop_leads_to_stop_at_once_from_every_state(found: Cause) -> None:
    held = Ticking()
    held.tick(Cause.MISSING)
    for robot, before in ((Ticking(), RUN_), (held, HOLD_), (in_safe(), SAFE_)):
        assert robot.tick(found, operator=STOP) is State.STOP
        assert robot.moved()[-1] == (before, STOP_, Cause.OPERATOR)
        assert robot.tick(Cause.FRESH) is State.STOP  # latched


def test_an_open_dead_man_switch_leads_to_safe_at_once_and_closing_it_does_not_end_safe() -> None:
    robot = Ticking(rearm_after=1)
    assert robot.tick(Cause.FRESH, operator=OPEN) is State.SAFE
    assert robot.moved() == [(RUN_, SAFE_, Cause.DEAD_MAN)]
    assert robot.tick(*[Cause.FRESH] * 50) is State.SAFE


def test_after_an_opened_switch_in_safe_good_actions_do_not_end_it() -> None:
    robot = in_safe(rearm_after=2)
    robot.tick(Cause.MISSING, operator=OPEN)
    assert robot.safety.cause is Cause.DEAD_MAN
    assert robot.tick(*[Cause.FRESH] * 50) is State.SAFE


@pytest.mark.parametrize("cause", [Cause.SILENCE, Cause.NOT_FINITE, Cause.LIMITS])
def test_good_actions_in_a_row_end_safe_if_configured(cause: Cause) -> None:
    robot = in_safe(cause, rearm_after=4)
    for bad in (Cause.LIMITS, Cause.MISSING, Cause.STALE, Cause.NOT_FINITE):
        assert robot.tick(*[Cause.FRESH] * 3, bad) is State.SAFE
    assert robot.tick(*[Cause.FRESH] * 4) is State.RUN
    assert robot.moved()[-1] == (SAFE_, RUN_, Cause.REARMED)
    assert robot.tick(*[Cause.MISSING] * 9) is State.HOLD  # time counts from the re-arming
    assert robot.tick(Cause.MISSING) is State.SAFE


def test_without_that_configuration_good_actions_do_not_end_safe() -> None:
    assert in_safe().tick(*[Cause.FRESH] * 99) is State.SAFE


def test_good_actions_do_not_end_stop() -> None:
    robot = in_safe(rearm_after=150)
    robot.tick(*[Cause.MISSING] * 100)
    assert robot.tick(*[Cause.FRESH] * 300) is State.STOP


@pytest.mark.parametrize("cause", [Cause.NOT_FINITE, Cause.LIMITS])
def test_a_rearming_resets_the_counts(cause: Cause) -> None:
    robot = in_safe(cause)
    robot.safety.rearm(robot.due_ns)
    assert (robot.safety.state, robot.safety.cause) == (State.RUN, Cause.REARMED)
    limit = 3 if cause is Cause.NOT_FINITE else 10
    assert robot.tick(*[cause] * (limit - 1)) < State.SAFE
    assert robot.tick(cause) is State.SAFE


def test_a_second_safe_lasts_as_long_as_the_first() -> None:
    robot = in_safe()
    robot.tick(*[Cause.MISSING] * 60)
    robot.safety.rearm(robot.due_ns)
    robot.tick(*[Cause.NOT_FINITE] * 3)
    assert robot.tick(*[Cause.FRESH] * 99) is State.SAFE
    assert robot.tick(Cause.FRESH) is State.STOP


def test_every_transition_is_counted_with_its_cause() -> None:
    robot = Ticking()
    for _ in range(2):
        robot.tick(Cause.FRESH, Cause.STALE, Cause.STALE, Cause.LIMITS, *[Cause.NOT_FINITE] * 3)
        robot.safety.rearm(robot.due_ns)
    assert robot.safety.transitions == Counter(
        {
            Transition(RUN_, HOLD_, Cause.STALE): 2,
            Transition(HOLD_, RUN_, Cause.LIMITS): 2,
            Transition(RUN_, HOLD_, Cause.NOT_FINITE): 2,
            Transition(HOLD_, SAFE_, Cause.NOT_FINITE): 2,
            Transition(SAFE_, RUN_, Cause.REARMED): 2,
        }
    )


def test_stop_and_dead_man_are_the_operators_causes() -> None:
    assert {Cause.OPERATOR, Cause.DEAD_MAN} == BY_HAND
