"""The guard: for any arrivals in any order, commands are finite, within limits, newer, and have a cause."""

import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.safety.guard import Guard, Offer, tightest
from odeploy_runtime.safety.states import BY_HAND, Cause, Operator, Safety, State, Transition
from odeploy_runtime.signals import Signal

Floats = NDArray[np.float32]

SIGNALS = (
    Signal("bounded", "1", -1.0, 1.0),
    Signal("slow", "1", -2.0, 2.0, max_step=0.25),
    Signal("free", "1"),
)
SAFE_ACTION = np.array([0.0, 0.5, -3.0], np.float32)
LOW = np.array([-1.0, -2.0, -np.inf], np.float32)
HIGH = np.array([1.0, 2.0, np.inf], np.float32)
MAX_STEP = np.array([np.inf, 0.25, np.inf], np.float32)
MS = 1_000_000
T = 10 * MS
HANDS_OFF = Operator()

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
tame = st.tuples(st.floats(-1, 1, width=32), st.floats(0.25, 0.5, width=32), numbers)
wild = st.tuples(numbers, numbers, numbers)
broken = st.tuples(numbers, numbers, st.sampled_from([math.nan, math.inf, -math.inf])).flatmap(st.permutations)
KINDS = ("fresh", "fresh", "wild", "missing", "late", "future", "duplicate", "reordered", "broken")


def vector(*values: float) -> Floats:
    return np.array(values, np.float32)


class Interleavings(RuleBasedStateMachine):
    """Offers of every type and operator inputs of every type, in any order.

    A second implementation of the safety states' promises: it looks back over the ticks since the last arming and
    keeps no counters, unlike the guard.
    """

    @initialize(rate_hz=st.sampled_from([20.0, 50.0]), rearm_after=st.sampled_from([None, 3]))
    def begin(self, rate_hz: float, rearm_after: int | None) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self.hold_ticks = {20.0: 3, 50.0: 5}[rate_hz]
        self.stop_ticks = int(rate_hz)
        self.rearm_after = rearm_after
        self.guard = Guard(SIGNALS, SAFE_ACTION, Safety(rate_hz, rearm_after))
        self.tick_number = self.episode = 0
        self.newest = (-1, -1)
        self.states: list[tuple[State, Cause]] = []
        self.arm()

    def arm(self) -> None:
        self.guard.rearm(self.due_ns)
        self.applied, self.armed_ns = SAFE_ACTION, self.due_ns
        self.begin_history()

    def begin_history(self) -> None:
        self.history: list[tuple[int, Cause]] = [(self.tick_number, Cause.REARMED)]
        self.safe_since: int | None = None
        self.by_hand = False

    @property
    def due_ns(self) -> int:
        return self.tick_number * self.period_ns

    @rule(
        kind=st.sampled_from(KINDS),
        values=st.tuples(tame, wild, broken),
        times=st.integers(1, 12),
        operator=st.sampled_from([Operator()] * 6 + [Operator(stop=True), Operator(held=False)]),
        skipped=st.sampled_from([0, 0, 0, 0, 0, 1, 4]),
    )
    def ticks(
        self, kind: str, values: tuple[list[float], ...], times: int, operator: Operator, skipped: int
    ) -> None:
        for _ in range(times):
            self.tick_number += 1 + skipped
            offer, found = self.offer(kind, values)
            self.check(self.guard.tick(self.due_ns, self.due_ns + MS, offer, operator), offer, found, operator)

    @rule(operator=st.builds(Operator, stop=st.booleans(), held=st.booleans(), rearm=st.just(True)))
    def the_operator_rearms(self, operator: Operator) -> None:
        self.tick_number += 1
        if self.guard.state >= State.SAFE and operator.held and not operator.stop:
            self.applied, self.armed_ns = SAFE_ACTION, self.due_ns
            self.begin_history()
        offer, found = self.offer("fresh", (SAFE_ACTION.tolist(),) * 3)
        self.check(self.guard.tick(self.due_ns, self.due_ns + MS, offer, operator), offer, found, operator)

    @rule()
    def an_episode_begins(self) -> None:
        self.episode, self.tick_number = self.episode + 1, self.tick_number + 1
        self.arm()

    def offer(self, kind: str, values: tuple[list[float], ...]) -> tuple[Offer | None, Cause]:
        """Return an arrival, and the cause that the guard has to find before it checks the values."""
        number, observed_ns = (self.episode, self.tick_number), max(self.due_ns, self.armed_ns)
        action = vector(*values[{"wild": 1, "broken": 2}.get(kind, 0)])
        if kind == "missing":
            return None, Cause.MISSING
        if kind == "late":
            return Offer(number, self.due_ns + MS - 2 * self.period_ns, action), Cause.STALE
        if kind == "future":
            return Offer(number, self.due_ns + MS + 1, action), Cause.STALE
        if kind == "duplicate" and self.newest > (-1, -1):
            return Offer(self.newest, observed_ns, action), Cause.STALE
        if kind == "reordered" and self.newest > (-1, -1):
            return Offer((self.newest[0], self.newest[1] - 1), observed_ns, action), Cause.STALE
        return Offer(number, observed_ns, action), Cause.FRESH

    def check(self, command: Floats, offer: Offer | None, found: Cause, operator: Operator) -> None:
        guard, was = self.guard, self.safe_since
        action = None if offer is None or found is Cause.STALE else offer.values
        if action is not None and offer is not None:
            self.newest = offer.number
            if not np.isfinite(action).all():
                found = Cause.NOT_FINITE
            elif not (
                np.clip(action, self.applied - MAX_STEP, self.applied + MAX_STEP).clip(LOW, HIGH) == action
            ).all():
                found = Cause.LIMITS
        assert guard.found is found
        self.history.append((self.tick_number, found))
        expected = self.expected(operator)
        assert guard.state is expected
        # The promises, one by one:
        assert np.isfinite(command).all()
        assert (command >= LOW).all()
        assert (command <= HIGH).all()
        if guard.state is State.RUN:
            assert action is not None
            assert (np.abs(command.astype(float) - self.applied) <= MAX_STEP + 1e-6).all()
            if found is Cause.FRESH:
                np.testing.assert_array_equal(command, action)
        elif guard.state is State.HOLD:
            np.testing.assert_array_equal(command, self.applied)
            assert guard.safety.cause is found
        else:
            np.testing.assert_array_equal(command, SAFE_ACTION)
            assert was is None or guard.safety.cause is not Cause.REARMED
        self.applied = command.copy()

    def expected(self, operator: Operator) -> State:
        """Return the state from the ticks since the arming."""
        if operator.stop:
            self.safe_since, self.by_hand = -(10**9), True
            return State.STOP
        if self.safe_since is None:
            if operator.held and not self.must_be_safe():
                return State.RUN if self.history[-1][1] <= Cause.LIMITS else State.HOLD
            self.safe_since, self.by_hand = self.tick_number, not operator.held
            return State.SAFE
        self.by_hand |= not operator.held
        if self.tick_number - self.safe_since >= self.stop_ticks:
            self.safe_since = -(10**9)
            return State.STOP
        good = [found for number, found in self.history if number > self.safe_since][-(self.rearm_after or 0) :]
        if self.rearm_after is not None and good == [Cause.FRESH] * self.rearm_after and not self.by_hand:
            self.begin_history()
            return State.RUN
        return State.SAFE

    def must_be_safe(self) -> bool:
        ok = (Cause.FRESH, Cause.LIMITS, Cause.REARMED)
        silent = self.tick_number - max(number for number, found in self.history if found in ok)
        numeric = [f for _, f in self.history if f in (*ok, Cause.NOT_FINITE)]
        bounded = [f for _, f in self.history if f in ok]
        return (
            silent >= self.hold_ticks
            or numeric[-3:] == [Cause.NOT_FINITE] * 3
            or bounded[-10:] == [Cause.LIMITS] * 10
        )


Interleavings.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestInterleavings = Interleavings.TestCase


class Ticking:
    """Guard that was armed at tick 0 and ticks at 100 Hz."""

    def __init__(self, rearm_after: int | None = None) -> None:
        self.guard = Guard(SIGNALS, SAFE_ACTION, Safety(100.0, rearm_after))
        self.guard.rearm(0)
        self.number = 0

    def offered(self, *values: float, operator: Operator = HANDS_OFF) -> Floats:
        """Run a tick with the answer to its own observation; return the command."""
        return self.tick(Offer((0, self.number + 1), (self.number + 1) * T, vector(*values)), operator=operator)

    def tick(self, offer: Offer | None = None, operator: Operator = HANDS_OFF, after_ns: int = 0) -> Floats:
        self.number += 1
        return self.guard.tick(self.number * T, self.number * T + after_ns, offer, operator)


def test_nothing_is_applied_before_the_robot_is_armed() -> None:
    guard = Guard(SIGNALS, SAFE_ACTION, Safety(100.0))
    np.testing.assert_array_equal(guard.tick(T, T, Offer((0, 0), T, vector(1, 0.5, 0))), SAFE_ACTION)
    assert guard.state is State.STOP
    assert guard.counts.safe == 1


@pytest.mark.parametrize(("age_ns", "applied"), [(0, True), (2 * T - 1, True), (2 * T, False), (-1, False)])
def test_an_action_is_applied_only_if_it_is_younger_than_two_periods(age_ns: int, applied: bool) -> None:
    robot = Ticking()
    for _ in range(5):
        robot.offered(0, 0.5, -3)
    now_ns = (robot.number + 1) * T + 7 * MS
    command = robot.tick(Offer((0, 6), now_ns - age_ns, vector(0.5, 0.5, 1)), after_ns=7 * MS)
    assert (command[0] == 0.5) == applied
    assert (robot.guard.state, robot.guard.counts.stale) == ((State.RUN, 0) if applied else (State.HOLD, 1))


@pytest.mark.parametrize(
    ("number", "applied"), [((1, 3), False), ((1, 2), False), ((0, 9), False), ((1, 4), True), ((2, 0), True)]
)
def test_an_action_is_applied_only_if_its_number_is_newer(number: tuple[int, int], applied: bool) -> None:
    robot = Ticking()
    robot.tick(Offer((1, 3), T, vector(0, 0.5, -3)))
    command = robot.tick(Offer(number, 2 * T, vector(0.5, 0.5, 1)))
    assert (command[0] == 0.5) == applied


def test_the_number_of_a_non_finite_action_is_used_up() -> None:
    robot = Ticking()
    robot.tick(Offer((0, 3), T, vector(math.nan, 0.5, 0)))
    robot.tick(Offer((0, 3), 2 * T, vector(0, 0.5, 0)))
    assert robot.guard.found is Cause.STALE


def test_an_action_from_before_a_rearming_is_stale_after_it() -> None:
    robot = Ticking()
    robot.offered(0, 0.5, -3)
    robot.guard.rearm(T + 5 * MS)
    robot.tick(Offer((0, 7), T + 5 * MS - 1, vector(0.5, 0.5, 1)))
    assert robot.guard.found is Cause.STALE
    robot.guard.rearm(3 * T)
    assert robot.tick(Offer((0, 8), 3 * T, vector(0.5, 0.5, 1)))[0] == 0.5


def test_an_action_is_clamped_against_the_last_applied_one_and_not_the_last_offered_one() -> None:
    robot = Ticking()
    assert [float(robot.offered(0, 2, -3)[1]) for _ in range(4)] == [0.75, 1.0, 1.25, 1.5]
    assert [float(robot.offered(0, -2, -3)[1]) for _ in range(2)] == [1.25, 1.0]


def test_a_zero_at_a_limit_is_within_it_for_both_signs() -> None:
    """The bytes of 0 and -0 differ, and a clamp may return either."""
    guard = Guard(
        (Signal("up", "1", 0.0, 1.0), Signal("down", "1", -1.0, 0.0)), np.zeros(2, np.float32), Safety(100.0)
    )
    guard.rearm(0)
    for number, zero in enumerate((0.0, -0.0), start=1):
        command = guard.tick(number * T, number * T, Offer((0, number), number * T, vector(zero, -zero)))
        np.testing.assert_array_equal(command, [0, 0])
        assert guard.found is Cause.FRESH


def test_limits_apply_to_signals_without_a_rate_limit() -> None:
    robot = Ticking()
    np.testing.assert_array_equal(robot.offered(5, 0.6, 9), vector(1, 0.6, 9))
    np.testing.assert_array_equal(robot.offered(-5, 0.6, 9), vector(-1, 0.6, 9))
    assert (robot.guard.counts.clamped, robot.guard.found) == (2, Cause.LIMITS)


def test_a_rearmed_guard_ramps_from_the_safe_action() -> None:
    robot = Ticking()
    for _ in range(6):
        robot.offered(0, 2, -3)
    robot.guard.rearm(6 * T)
    assert robot.offered(0, 2, -3)[1] == 0.75


def test_a_rearming_in_run_does_not_change_the_reference_of_the_rate_limit() -> None:
    robot = Ticking()
    for _ in range(6):
        robot.offered(0, 2, -3)
    assert robot.offered(0, 2, -3, operator=Operator(rearm=True))[1] == 2.0


@pytest.mark.parametrize("operator", [Operator(stop=True, rearm=True), Operator(held=False, rearm=True)])
def test_a_rearming_has_no_effect_during_a_stop(operator: Operator) -> None:
    robot = Ticking()
    robot.offered(0, 0.5, -3, operator=operator._replace(rearm=False))
    before = dict(robot.guard.safety.transitions)
    np.testing.assert_array_equal(robot.offered(1, 0.5, -3, operator=operator), SAFE_ACTION)
    assert robot.guard.safety.transitions == before


def test_the_operator_can_rearm_a_robot_in_safe_and_in_stop() -> None:
    for stopped in (Operator(stop=True), Operator(held=False)):
        robot = Ticking()
        robot.offered(0, 0.5, -3, operator=stopped)
        assert robot.offered(1, 0.5, -3)[0] == 0
        assert robot.offered(1, 0.5, -3, operator=Operator(rearm=True))[0] == 1
        assert robot.guard.state is State.RUN


def test_after_a_rearming_only_later_observations_count() -> None:
    robot, rearm = Ticking(), Operator(rearm=True)
    robot.offered(0, 0.5, -3, operator=Operator(stop=True))
    np.testing.assert_array_equal(robot.tick(Offer((0, 9), 2 * T - 1, vector(1, 0.5, -3)), rearm), SAFE_ACTION)
    assert robot.guard.found is Cause.STALE
    states = [robot.guard.state for _ in range(10) if robot.tick() is not None]
    assert states == [State.HOLD] * 9 + [State.SAFE]  # 10 T after the re-arming


def test_counts_include_ticks_and_the_offers_before_safe() -> None:
    robot = Ticking()
    robot.offered(2, 0.5, -3)
    robot.offered(1, 0.5, -3)
    robot.tick()
    robot.tick()
    robot.tick(Offer((0, 0), 5 * T, vector(0, 0.5, -3)))
    for _ in range(3):
        robot.offered(math.nan, 0.5, -3)
    assert robot.guard.state is State.SAFE
    robot.offered(2, 0.5, -3)
    robot.offered(math.nan, 0.5, -3)
    robot.tick(Offer((0, 0), 10 * T, vector(0, 0.5, -3)))
    assert vars(robot.guard.counts) == {"held": 5, "safe": 4, "clamped": 1, "stale": 1, "not_finite": 3}


def test_the_last_of_the_good_actions_that_end_safe_is_the_first_applied() -> None:
    robot = Ticking(rearm_after=2)
    for _ in range(3):
        robot.offered(math.nan, 0.5, -3)
    commands = [float(robot.offered(1, 0.5, -3)[0]) for _ in range(3)]
    assert commands == [0, 1, 1]


def test_a_clamped_command_is_a_new_array_and_the_action_is_unchanged() -> None:
    robot, action = Ticking(), vector(9, 9, 9)
    action.setflags(write=False)
    command = robot.tick(Offer((0, 1), T, action))
    assert not np.shares_memory(command, action)
    np.testing.assert_array_equal(action, [9, 9, 9])


def test_transitions_are_those_of_the_safety_states() -> None:
    robot = Ticking()
    robot.tick()
    robot.offered(0, 0.5, -3)
    transitions = robot.guard.safety.transitions
    assert transitions[Transition(State.RUN, State.HOLD, Cause.MISSING)] == 1
    assert transitions[Transition(State.HOLD, State.RUN, Cause.FRESH)] == 1
    assert not any(transition.cause in BY_HAND for transition in transitions)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0, 2.5, 0], "signal slow: expected a number from -2 to 2, got 2.5"),
        ([-1.5, 0, 0], "signal bounded: expected a number from -1 to 1, got -1.5"),
        ([0, 0, math.inf], "signal free: expected a number from -inf to inf, got inf"),
        ([0, math.nan, 0], "signal slow: expected a number from -2 to 2, got nan"),
    ],
)
def test_a_safe_action_out_of_limits_is_refused_by_name(wrong: list[float], message: str) -> None:
    with pytest.raises(ContractError, match=message) as raised:
        Guard(SIGNALS, vector(*wrong), Safety(100.0))
    assert str(raised.value).endswith("fix the task's safe_action, or the limits that exclude it")


def test_a_safe_action_on_its_limits_is_allowed() -> None:
    for corner in (vector(-1, -2, 0), vector(1, 2, 0)):
        Guard(SIGNALS, corner, Safety(100.0))


def test_vectors_of_another_length_have_no_tightest_limits() -> None:
    with pytest.raises(ValueError, match="zip"):
        tightest(SIGNALS, SIGNALS[:2])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Signal("x", "m", -2.0, 0.5), Signal("x", "m", -1.0, 0.5, 0.1)),
        (Signal("x", "m", -0.5, None, 0.2), Signal("x", "m", -0.5, 1.0, 0.1)),
        (Signal("x", "m", max_step=0.05), Signal("x", "m", -1.0, 1.0, 0.05)),
    ],
)
def test_the_tighter_of_two_limits_applies_in_either_order(other: Signal, expected: Signal) -> None:
    one = Signal("x", "m", -1.0, 1.0, 0.1)
    assert tightest([one], [other]) == tightest([other], [one]) == (expected,)


def test_limits_missing_on_both_sides_stay_open() -> None:
    assert tightest([Signal("x", "m")], [Signal("x", "m")]) == (Signal("x", "m"),)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (1.5, 2.0)])
def test_limits_without_overlap_are_refused(low: float, high: float) -> None:
    with pytest.raises(
        ContractError, match="signal x: expected overlapping limits of the task and the policy file"
    ) as raised:
        tightest([Signal("x", "m", -1.0, 1.0)], [Signal("x", "m", low, high)])
    assert raised.value.got == f"-1.0 to 1.0 and {low} to {high}"
    assert raised.value.remedy == "use a policy that was exported for this task"
