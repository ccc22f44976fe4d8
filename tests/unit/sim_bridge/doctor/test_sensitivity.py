"""Sensitivity: unused signals and a nearly constant policy are named."""

import numpy as np

from odeploy_sim.doctor.findings import Finding
from odeploy_sim.doctor.sensitivity import check_sensitivity, sensitivity
from tests.unit.sim_bridge.doctor.function_policy import Floats, FunctionPolicy, observations


def found(policy: FunctionPolicy, seen: Floats | None = None) -> list[Finding]:
    o = observations() if seen is None else seen
    return check_sensitivity(sensitivity(policy, o), policy.manifest.observation, len(o))


def test_a_linear_policy_moves_by_its_weights_times_the_change() -> None:
    o = observations(400)
    sensed = sensitivity(FunctionPolicy(lambda x: [0.25 * x[0], 0.125 * x[1] + 2 * x[2]]), o)
    assert np.allclose(sensed.mean[0, 1:], 0)
    spread = o.std(axis=0)  # E|x - x'| of two normal draws is 2 / sqrt(pi) of their standard deviation
    expected = np.array([[0.25, 0, 0], [0, 0.125, 2]]) * spread * 2 / np.sqrt(np.pi)
    assert np.allclose(sensed.mean, expected, rtol=0.15)
    assert (sensed.largest >= sensed.mean).all()


def test_a_policy_that_uses_every_signal_has_no_finding() -> None:
    assert found(FunctionPolicy(lambda x: [x[0] - x[2], x[1]])) == []


def test_a_signal_that_changes_no_action_is_a_dead_input() -> None:
    (finding,) = found(FunctionPolicy(lambda x: [x[0], x[2]]))
    assert (finding.severity, finding.check, finding.where) == ("warning", "dead input", "y")
    assert "in 40 ticks" in finding.seen


def test_a_constant_signal_is_only_a_note() -> None:
    o = observations()
    o[:, 1] = 7
    (finding,) = found(FunctionPolicy(lambda x: [x[0], x[2]]), o)
    assert (finding.severity, finding.where) == ("note", "y")


def test_a_nearly_constant_policy_is_one_warning() -> None:
    (finding,) = found(FunctionPolicy(lambda x: [0.3, 1e-3 * x[0]]))
    assert (finding.severity, finding.check) == ("warning", "nearly constant")


def test_non_finite_actions_are_left_to_another_check() -> None:
    assert found(FunctionPolicy(lambda x: [np.nan, 0.0])) == []
