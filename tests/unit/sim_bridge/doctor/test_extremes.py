"""Actions under extreme observations: finite, within their limits, and able to reach them."""

import numpy as np
import pytest

from odeploy_sim.doctor.extremes import check_extremes, check_not_numbers, check_saturation
from odeploy_sim.doctor.findings import Finding
from tests.unit.sim_bridge.doctor.function_policy import Floats, FunctionPolicy, observations, plain


def extremes(policy: FunctionPolicy) -> list[Finding]:
    return check_extremes(policy, observations())


def test_a_squashed_policy_has_no_finding() -> None:
    assert extremes(FunctionPolicy(lambda x: np.tanh(x[:2]))) == []


def test_an_action_beyond_its_limit_is_named_with_its_cause() -> None:
    (finding,) = extremes(FunctionPolicy(lambda x: [np.tanh(x[0]), 0.3 * x[2]]))
    assert (finding.severity, finding.check, finding.where) == ("error", "beyond limits", "motor_y")
    assert "outside [-1.0, 1.0] at" in finding.seen
    assert "speed" in finding.seen or "all signals" in finding.seen


def test_an_action_without_limits_has_no_finding() -> None:
    assert extremes(FunctionPolicy(lambda x: 5 * x[:2], plain(None, None))) == []


def test_a_non_finite_action_for_a_finite_observation_is_an_error() -> None:
    def overflows(x: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            e: Floats = np.exp(x[:2])
            sigmoid: Floats = e / (1 + e)  # inf / inf
            return sigmoid

    (finding,) = extremes(FunctionPolicy(overflows))
    assert (finding.severity, finding.check, finding.where) == ("error", "not finite", "motor_x, motor_y")
    assert "first at" in finding.seen


def test_a_second_tanh_is_detected_by_the_actions_range() -> None:
    (finding,) = extremes(FunctionPolicy(lambda x: np.tanh(np.tanh(x[:2]))))
    assert (finding.severity, finding.check) == ("error", "tanh twice")
    assert "0.7616" in finding.seen


@pytest.mark.parametrize("reach", [0.5, 0.75, 0.9])
def test_a_policy_with_small_actions_has_no_finding(reach: float) -> None:
    assert extremes(FunctionPolicy(lambda x: reach * np.tanh(x[:2]))) == []


def test_an_action_always_at_its_limit_is_a_warning() -> None:
    (finding,) = check_saturation(FunctionPolicy(lambda x: [1.0, np.tanh(x[0])]), observations())
    assert (finding.severity, finding.where) == ("warning", "motor_x")
    assert "100% of 40" in finding.seen


def test_an_action_often_at_its_limit_has_no_finding() -> None:
    policy = FunctionPolicy(lambda x: [np.sign(x[0]) if abs(x[0]) > 0.2 else x[0], np.tanh(x[1])])
    assert check_saturation(policy, observations()) == []


def test_nan_that_reaches_an_action_is_a_note() -> None:
    (finding,) = check_not_numbers(FunctionPolicy(lambda x: [np.tanh(x[0]), 0.0]), observations()[0])
    assert (finding.severity, finding.where) == ("note", "x")
    assert finding.seen.startswith("NaN in 1 of 3 signals, and an infinity in 0,")


def test_a_policy_that_ignores_nan_has_no_note() -> None:
    assert check_not_numbers(FunctionPolicy(lambda x: [0.0, 0.5]), observations()[0]) == []
