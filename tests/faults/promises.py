"""Checks of the safety states' promises on a trace: after any fault, every row keeps them."""

import math

import numpy as np

from odeploy_runtime.safety.states import State
from odeploy_runtime.signals import highs, lows
from odeploy_runtime.trace.format import APPLIED, SKIPPED, STAMPS, Trace
from odeploy_sim.catalogue import get

DUE, WOKE, ARRIVED, APPLIED_AT = (STAMPS.index(name) for name in ("due", "woke", "arrived", "applied"))


def assert_kept(trace: Trace) -> None:
    """Check each tick against the one before it, and each command against its limits."""
    rows, header = trace.rows, trace.header
    period_ns = round(1e9 / header.rate_hz)
    hold_ns = max(3, min(20, math.ceil(0.1 * header.rate_hz))) * period_ns
    safe = np.array(get(header.task).safe_action, np.float32)
    ran = rows[rows["kind"] != SKIPPED]
    assert np.isfinite(ran["action"]).all()
    assert (ran["action"] >= lows(header.action)).all()
    assert (ran["action"] <= highs(header.action)).all()
    assert (ran["stamps"][:, WOKE] >= ran["stamps"][:, DUE]).all()  # no tick runs before it is due
    # The guard checks an action's age when it decides; the time until the action is applied adds to that.
    decided_ns = np.maximum(ran["stamps"][:, ARRIVED], ran["stamps"][:, WOKE])
    age_ns = ran["age_ns"] - (ran["stamps"][:, APPLIED_AT] - decided_ns)
    assert (age_ns[ran["kind"] == APPLIED] < 2 * period_ns).all()
    assert ((ran["state"] == State.RUN) == (ran["kind"] == APPLIED)).all()
    for episode in np.split(rows, np.flatnonzero(np.diff(rows["episode"])) + 1):
        last, fresh_ns, was = safe, None, State.RUN
        assert (episode["tick"] == np.arange(len(episode))).all()  # every due tick has its row
        for row in episode[episode["kind"] != SKIPPED]:
            state, due_ns = State(row["state"]), int(row["stamps"][DUE])
            fresh_ns = due_ns - period_ns if fresh_ns is None else fresh_ns
            if state is State.RUN:
                assert was < State.SAFE  # latched
                fresh_ns = due_ns
            elif state is State.HOLD:
                assert was < State.SAFE
                assert due_ns - fresh_ns < hold_ns
                assert (row["action"] == last).all()
            else:
                assert (row["action"] == safe).all()
            last, was = row["action"], state


def states(trace: Trace) -> set[State]:
    """Return the states that occur."""
    return {State(state) for state in np.unique(trace.rows["state"][trace.rows["kind"] != SKIPPED])}


def applied_between(trace: Trace, begin_ns: int, end_ns: int) -> int:
    """Return how many ticks due within the interval were applied."""
    due = trace.rows["stamps"][:, DUE]
    return int((trace.rows["kind"][(due > begin_ns) & (due < end_ns)] == APPLIED).sum())
