"""Names of joints: by patterns, with the nearest one for a mistake."""

from typing import Any

import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.names import matching, per_joint, require_known

LEGS = ["left_hip", "left_knee", "right_hip", "right_knee"]


def test_patterns_give_the_order_and_no_name_twice() -> None:
    assert matching(("right_*", "*"), LEGS, "f") == ["right_hip", "right_knee", "left_hip", "left_knee"]
    assert matching((), LEGS, "f") == LEGS


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (2, (2.0, 2.0, 2.0, 2.0)),
        ([1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
        ({"left_hip": 9, "*_hip": 5, "*": 1}, (9.0, 1.0, 5.0, 1.0)),
    ],
)
def test_numbers_come_from_one_a_list_or_the_first_pattern_that_matches(
    value: Any, numbers: tuple[float, ...]
) -> None:
    assert per_joint(value, LEGS, "f") == numbers


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "expected 4 numbers, one for each joint, got 2"),
        ({"*_hip": 5}, "expected a number for left_knee, got none"),
        ("stiff", "expected a number for left_hip, got 'stiff'"),
    ],
)
def test_other_values_are_refused(value: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        per_joint(value, LEGS, "f")


def test_a_pattern_without_a_joint_offers_the_nearest() -> None:
    with pytest.raises(MissingError, match="expected a known joint: left_knee, got left_nee"):
        per_joint({"left_nee": 1, "*": 2}, LEGS, "f")


def test_a_name_like_none_other_lists_what_there_is() -> None:
    with pytest.raises(MissingError, match="expected a known sensor: gyro, accelerometer, got xyz"):
        require_known("xyz", ["gyro", "accelerometer"], "sensor", "f")
