"""Student policies: raw observations, actions in robot units within bounds."""

import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal
from odeploy_train.policies.student import StudentConfig, StudentPolicy

ACTION = (Signal("a", "m", -0.1, 0.3), Signal("b", "N", -20.0, 20.0))
OBSERVATIONS = torch.tensor([[1.0, 5.0, 100.0], [3.0, 5.0, 300.0]])


def student() -> StudentPolicy:
    policy = StudentPolicy(StudentConfig(3, 2, width=16))
    policy.fit(OBSERVATIONS, ACTION)
    return policy


def test_a_students_unit_scale_spans_the_bounds_and_inverts() -> None:
    policy = student()
    unit = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    robot = torch.tensor([[-0.1, -20.0], [0.1, 0.0], [0.3, 20.0]])
    torch.testing.assert_close(policy.to_robot(unit), robot)
    torch.testing.assert_close(policy.to_unit(robot), unit)


def test_a_saturated_student_stays_exactly_within_bounds() -> None:
    policy = student()
    policy.fit(OBSERVATIONS, (Signal("a", "m", -2.3, 0.7), Signal("b", "m", -0.7, 0.1)))
    low, high = policy.low, policy.high
    assert (low + 2 * ((high - low) / 2) > high).all()  # rounding exceeds these two
    with torch.no_grad():
        policy.net.last.weight.mul_(1e4)
    actions = policy(OBSERVATIONS.repeat(50, 1) + torch.randn(100, 3, generator=torch.Generator().manual_seed(0)))
    assert ((actions == low) | (actions == high)).any(dim=0).all()
    assert ((actions >= low) & (actions <= high)).all()


def test_a_student_of_an_action_without_a_limit_is_refused() -> None:
    with pytest.raises(ContractError, match=r"student, action b: expected a lower and an upper limit, got \[-1.0"):
        student().fit(OBSERVATIONS, (ACTION[0], Signal("b", "N", low=-1.0)))


def test_config_and_weights_rebuild_a_student() -> None:
    first, again = student(), StudentPolicy(StudentConfig(3, 2, 16))
    again.load_state_dict(first.state_dict())
    assert torch.equal(first(OBSERVATIONS), again(OBSERVATIONS))
