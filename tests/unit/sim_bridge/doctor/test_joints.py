"""Two checks for permuted joints: the expert's actions, and each action's sensitivity to signals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_sim.catalogue import get
from odeploy_sim.doctor.joints import check_against_expert, check_own_signals, cycles, own_signals

NAMES = ("hip_torque", "knee_torque", "foot_torque")
JOINTS = ("hip", "knee", "foot")
OBSERVED = ("rootz_position", *(f"{j}_angle" for j in JOINTS), *(f"{j}_angular_velocity" for j in JOINTS))


@pytest.mark.parametrize(
    ("task", "action", "own"),
    [
        ("hopper", "leg_joint_torque", ["leg_joint_angle", "leg_joint_angular_velocity"]),
        ("hand-rotate", "robot0:FFJ3_position", ["robot0:FFJ3_angle", "robot0:FFJ3_angular_velocity"]),
        ("fetch-reach", "gripper_displacement_x", ["gripper_x", "gripper_velocity_x"]),
        ("point-mass", "root_y_force", ["root_y_position", "root_y_velocity"]),
        ("maze-medium", "motor_x", ["ball_x", "ball_velocity_x", "goal_x"]),
        ("multigoal-2d", "velocity_y", ["point_y"]),
        ("fish-swim", "fins_flap_target_angle", []),
        ("fetch-reach", "finger_displacement", []),
    ],
)
def test_an_actuators_own_signals_are_found_by_name(task: str, action: str, own: list[str]) -> None:
    t = get(task)
    found = own_signals(t.observation_names, t.action_names)[t.action_names.index(action)]
    assert [t.observation_names[j] for j in found] == own


def test_actions_in_the_experts_order_have_no_finding() -> None:
    expert = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    assert check_against_expert(NAMES, expert.astype(float) + 0.3, expert) == []


def test_a_cycle_of_actions_is_named_with_correlations() -> None:
    rng = np.random.default_rng(0)
    expert = rng.standard_normal((200, 3)).astype(np.float32)
    swapped = expert[:, [1, 0, 2]] + 0.3 * rng.standard_normal((200, 3))
    (finding,) = check_against_expert(NAMES, swapped, expert)
    assert (finding.severity, finding.where) == ("error", "hip_torque, knee_torque")
    assert "hip_torque follows the expert's knee_torque (correlation 0.9" in finding.seen


def test_a_policy_uncorrelated_with_the_expert_has_no_finding() -> None:
    rng = np.random.default_rng(0)
    assert check_against_expert(NAMES, rng.standard_normal((200, 3)), rng.random((200, 3), np.float32)) == []


def test_joints_that_move_together_have_no_finding() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((200, 1))
    expert = (one + 0.1 * rng.standard_normal((200, 3))).astype(np.float32)
    assert check_against_expert(NAMES, expert[:, [1, 2, 0]].astype(float), expert) == []


def test_constant_and_broken_actions_correlate_with_nothing() -> None:
    expert = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    for value in (0.0, np.nan):
        with np.errstate(invalid="ignore"):
            assert check_against_expert(NAMES, np.full((50, 3), value), expert) == []


def sensitivity_of(order: list[int], stray: float = 0.02) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the sensitivity of action i to joint order[i], and a little to the others. Shape (3, 7)."""
    mean = np.full((3, len(OBSERVED)), stray)
    for i, k in enumerate(order):
        mean[i, [1 + k, 4 + k]] = 0.4
    return mean


def test_actions_sensitive_to_their_own_joint_have_no_finding() -> None:
    assert check_own_signals(OBSERVED, NAMES, sensitivity_of([0, 1, 2])) == []


@pytest.mark.parametrize(
    ("order", "where"),
    [([1, 0, 2], "hip_torque, knee_torque"), ([1, 2, 0], "hip_torque, knee_torque, foot_torque")],
)
def test_actions_sensitive_to_each_others_joints_are_a_warning(order: list[int], where: str) -> None:
    (finding,) = check_own_signals(OBSERVED, NAMES, sensitivity_of(order))
    assert (finding.severity, finding.where) == ("warning", where)
    assert "moves by 0.8 with the signals of knee_torque, by 0.04 with its own" in finding.seen


def test_coordinated_joints_have_no_finding() -> None:
    assert (
        check_own_signals(OBSERVED, NAMES, sensitivity_of([1, 0, 2], stray=0.1)) == []
    )  # 4 times: below the threshold


def test_several_actions_sensitive_to_one_joint_are_no_permutation() -> None:
    assert check_own_signals(OBSERVED, NAMES, sensitivity_of([1, 1, 1])) == []


@given(st.permutations(range(6)))
def test_cycles_of_a_permutation_are_its_moved_elements_once_each(order: list[int]) -> None:
    found = cycles({i: k for i, k in enumerate(order) if i != k})
    assert sorted(i for cycle in found for i in cycle) == [i for i, k in enumerate(order) if i != k]
    for cycle in found:
        assert all(order[a] == b for a, b in pairwise((*cycle, cycle[0])))


@given(st.dictionaries(st.integers(0, 6), st.integers(0, 6)))
def test_cycles_of_any_map_are_closed(to: dict[int, int]) -> None:
    for cycle in cycles(to):
        assert all(to[a] == b for a, b in pairwise((*cycle, cycle[0])))


def test_actions_without_signals_of_their_own_have_no_finding() -> None:
    assert check_own_signals(("place", "speed"), ("force",), np.ones((1, 2))) == []
