"""Flow policies: raw observations, actions in robot units within bounds."""

import math

import torch

from odeploy_runtime.signals import Signal
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowConfig, FlowPolicy

ACTION = (Signal("a", "m", -0.1, 0.3), Signal("b", "N", -20.0, 20.0))
OBSERVATIONS = torch.tensor([[1.0, 5.0, 100.0], [3.0, 5.0, 300.0]])
ACTIONS = torch.tensor([[0.0, -4.0], [0.2, 8.0]])


def flow() -> FlowPolicy:
    policy = FlowPolicy(FlowConfig(3, 2, width=16, depth=2))
    policy.fit(OBSERVATIONS, ACTIONS, ACTION)
    return policy


def test_a_flow_of_zero_velocity_returns_its_noise_in_robot_units() -> None:
    policy = flow()
    torch.nn.init.zeros_(policy.velocity.last.weight)
    torch.nn.init.zeros_(policy.velocity.last.bias)
    actions = policy.sample(OBSERVATIONS, torch.tensor([[0.0, 0.5], [1.0, -1.0]]), EULER, uniform_grid(3))
    torch.testing.assert_close(actions, torch.tensor([[0.1, 2.0 + 0.5 * 6], [0.2, 2.0 - 6]]))


def test_actions_stay_within_the_bounds() -> None:
    actions = flow().sample(OBSERVATIONS.repeat(50, 1), 100 * torch.randn(100, 2), EULER, uniform_grid(2))
    low, high = torch.tensor([-0.1, -20.0]), torch.tensor([0.3, 20.0])
    assert ((actions >= low) & (actions <= high)).all()
    assert (actions == low).any(dim=0).all()
    assert (actions == high).any(dim=0).all()


def test_a_squashed_flow_returns_tanh_of_its_scaled_end_on_the_limits() -> None:
    policy = FlowPolicy(FlowConfig(3, 2, width=16, depth=2, squash=True))
    policy.low, policy.high = torch.tensor([-0.1, -20.0]), torch.tensor([0.3, 20.0])
    policy.action_mean, policy.action_std = torch.tensor([0.5, 0.0]), torch.tensor([1.0, 2.0])
    robot = policy.to_robot(torch.tensor([[0.0, 0.3], [50.0, -50.0]]))
    expected = torch.tensor([[0.1 + 0.2 * math.tanh(0.5), 20 * math.tanh(0.6)], [0.3, -20.0]])
    torch.testing.assert_close(robot, expected)


def test_a_flow_clips_its_normalised_observation() -> None:
    policy = FlowPolicy(FlowConfig(3, 2, width=16, depth=2, clip=5.0))
    policy.fit(OBSERVATIONS, ACTIONS, ACTION)
    normalised = policy.normalise(torch.tensor([[1e6, 5.0, -1e6], [1.0, 5.0, 300.0]]))
    torch.testing.assert_close(normalised, torch.tensor([[5.0, 0.0, -5.0], [-1.0, 0.0, 1.0]]))


def test_a_missing_limit_leaves_a_flow_unbounded() -> None:
    policy = flow()
    policy.fit(OBSERVATIONS, ACTIONS, (Signal("a", "m"), Signal("b", "N", low=-1.0)))
    assert policy.low.tolist() == [-math.inf, -1.0]
    assert policy.high.tolist() == [math.inf, math.inf]


def test_the_field_of_normalised_observations_is_the_velocity_at_one_time_for_all_rows() -> None:
    policy, x = flow(), torch.randn(2, 2)
    normalised = policy.normalise(OBSERVATIONS)
    torch.testing.assert_close(normalised, torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]))
    expected = policy.velocity(normalised, x, torch.tensor([0.3, 0.3]))
    assert torch.equal(policy.field(normalised)(0.3, x), expected)


def test_normalised_actions_have_mean_zero_and_unit_deviation() -> None:
    torch.testing.assert_close(flow().normalise_action(ACTIONS), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_config_and_weights_rebuild_a_flow() -> None:
    first, again = flow(), FlowPolicy(FlowConfig(3, 2, 16, 2))
    again.load_state_dict(first.state_dict())
    answers = [p.sample(OBSERVATIONS, torch.ones(2, 2), EULER, uniform_grid(2)) for p in (first, again)]
    assert torch.equal(*answers)
