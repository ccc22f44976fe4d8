"""The statistics of `tests.timing.against`, checked against closed forms."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.timing.against.paired import difference, self_difference


def turns_of(values: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Durations [ns], a row a turn."""
    return list((values * 1e6).astype(np.int64))


def test_a_constant_factor_is_found_exactly_whatever_the_drift() -> None:
    rng = np.random.default_rng(0)
    drift = np.linspace(1, 3, 20)[:, None]
    theirs = rng.lognormal(0, 0.5, (20, 50)) * drift
    for percentile in (50, 99):
        found = difference(turns_of(1.1 * theirs), turns_of(theirs), percentile)
        assert found.percent == pytest.approx(10, abs=1e-3)
        assert (found.low, found.high) == pytest.approx((10, 10), abs=1e-2)
        assert found.theirs_ns == pytest.approx(np.percentile(theirs, percentile) * 1e6, rel=1e-5)


def test_the_same_turns_differ_by_nothing() -> None:
    turns = turns_of(np.random.default_rng(1).lognormal(0, 1, (10, 30)))
    found = difference(turns, turns, 50)
    assert (found.percent, found.low, found.high) == (0, 0, 0)


def test_the_interval_of_independent_turns_has_the_width_of_the_medians_standard_error() -> None:
    rng, pairs, sigma = np.random.default_rng(2), 1000, 0.01
    ours, theirs = 1.03 * rng.normal(1, sigma, (pairs, 1)), rng.normal(1, sigma, (pairs, 1))
    found = difference(turns_of(ours), turns_of(theirs), 50)
    standard_error = math.sqrt(math.pi / 2) * sigma / math.sqrt(pairs)  # of a normal sample's median
    half = 100 * 1.03 * 1.96 * math.sqrt(2) * standard_error
    assert found.low < 3 < found.high
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.3)


def test_ticks_of_a_turn_that_move_together_count_as_one() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(1, 0.01, (400, 1)), rng.normal(1, 0.01, (400, 1))
    alone = difference(turns_of(ours), turns_of(theirs), 50)
    repeated = difference(turns_of(ours.repeat(50, 1)), turns_of(theirs.repeat(50, 1)), 50)
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_a_kind_against_itself_pairs_neighbouring_turns_and_drops_an_odd_last_one() -> None:
    first, second = turns_of(np.full((3, 4), 1.0)), turns_of(np.full((3, 4), 1.25))
    turns = [turn for pair in zip(first, second, strict=True) for turn in pair]
    assert self_difference([*turns, first[0]], 50).percent == pytest.approx(-20)


def test_turns_without_a_partner_are_refused() -> None:
    turns = turns_of(np.ones((2, 3)))
    with pytest.raises(ValueError, match="2 turns of ours, 1 of theirs"):
        difference(turns, turns[:1], 50)
    with pytest.raises(ValueError, match="give pairs"):
        difference([], [], 50)
