"""Signals: names in order, limits as vectors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal, half_ranges, highs, lows, max_steps, require_same_names

THREE = (Signal("a", "1", -2.0, 4.0, 0.5), Signal("b", "m", low=-1.0), Signal("c", "m", high=7.0))


def test_limits_become_float32_vectors_with_infinity_for_missing_ones() -> None:
    for made, expected in (
        (lows(THREE), [-2.0, -1.0, -math.inf]),
        (highs(THREE), [4.0, math.inf, 7.0]),
        (max_steps(THREE), [0.5, math.inf, math.inf]),
    ):
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, expected)


def test_unit_scale_is_half_of_the_range_and_one_without_both_limits() -> None:
    np.testing.assert_array_equal(half_ranges(THREE), [3.0, 1.0, 1.0])


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (1.0, math.nan)])
def test_a_signal_with_low_not_below_high_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="signal knee"):
        Signal("knee", "rad", low, high)


@given(st.lists(st.text(max_size=5), max_size=6))
def test_the_same_names_in_the_same_order_are_accepted(names: list[str]) -> None:
    require_same_names(tuple(names), list(names), "observation")


@pytest.mark.parametrize("order", list(itertools.permutations("abc"))[1:])
def test_permuted_names_are_refused_and_the_first_wrong_place_is_named(order: tuple[str, ...]) -> None:
    place = next(i for i in range(3) if "abc"[i] != order[i])
    with pytest.raises(ContractError, match=f"observation, place {place}: expected '{'abc'[place]}'") as raised:
        require_same_names("abc", order, "observation")
    assert raised.value.got == f"'{order[place]}' (same names, another order)"


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (["a", "b"], "2: missing c"),
        (["a", "b", "c", "d"], "4: unknown d"),
        (["a", "x", "y"], "3: missing b, c; unknown x, y"),
        (["a", "b", "c", "c"], "4: names repeated"),
        ([], "0: missing a, b, c"),
    ],
)
def test_missing_unknown_and_repeated_names_are_reported_separately(got: list[str], message: str) -> None:
    with pytest.raises(ContractError) as raised:
        require_same_names(["a", "b", "c"], got, "action")
    assert raised.value.got == message
    assert raised.value.expected == "3 signals as in the policy file"


@given(st.lists(st.sampled_from("abc"), max_size=4), st.lists(st.sampled_from("abc"), max_size=4))
def test_any_difference_is_refused_and_equality_never_is(expected: list[str], got: list[str]) -> None:
    try:
        require_same_names(expected, got, "action")
    except ContractError:
        assert expected != got
    else:
        assert expected == got
