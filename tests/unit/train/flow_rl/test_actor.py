"""The flow as an actor: integration, actions from the flow's end, gradients."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from odeploy_train.flow_rl.actor import Sampling
from odeploy_train.flow_rl.fpo import Draws, FpoActor, fpo
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.ode import EULER, HEUN, RK4, SOLVERS, integrate, solver, uniform_grid

O, D = 5, 2  # noqa: E741
GRID = uniform_grid(10)


def flow_actor(*, name: str = "euler", squash: bool = False, output_scale: float = 1.0) -> FpoActor:
    """Return an actor with large weights, so that the flow is curved."""
    sampling = Sampling(solver(name), GRID, squash, output_scale)
    actor = FpoActor(VelocityNet(O, D, 16, 3), sampling, Draws(), fpo)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return actor


def inputs(count: int) -> tuple[Tensor, Tensor]:
    """Return observations and noise."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, O, generator=generator), torch.randn(count, D, generator=generator)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_split_sampler_is_the_plain_integration_of_the_velocity(name: str) -> None:
    actor = flow_actor(name=name, output_scale=0.3).double()
    observation, noise = (rows.double() for rows in inputs(7))

    def field(t: float, x: Tensor) -> Tensor:
        velocity: Tensor = 0.3 * actor.velocity(observation, x, x.new_full((7,), t))
        return velocity

    before = noise.clone()
    expected = integrate(field, noise, solver(name), GRID)
    torch.testing.assert_close(actor.sample(observation, noise), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(noise, before)


def test_a_known_linear_field_is_integrated_from_noise_at_0_to_the_action_at_1() -> None:
    """dx/dt = A x + b sin(π t / 2). Any other direction, sign or convention of time ends elsewhere.

    One layer is this field exactly: silu(z) - silu(-z) = z, and the embedding contains the sine.
    """
    A, b = torch.tensor([[0.4, -1.1], [0.7, -0.3]]), torch.tensor([1.0, -2.0])
    net = VelocityNet(O, D, width=2 * D, depth=1)
    linear = torch.zeros(D, net.first.in_features)
    linear[:, O : O + D], linear[:, O + D + net.time_features // 2] = A, b
    with torch.no_grad():
        net.first.weight.copy_(torch.cat([linear, -linear]))
        net.last.weight.copy_(torch.cat([torch.eye(D), -torch.eye(D)], dim=1))
        net.first.bias.zero_()
        net.last.bias.zero_()
    actor = FpoActor(net, Sampling(RK4, GRID), Draws(), fpo)
    noise = torch.tensor([[1.0, 0.0], [-0.5, 2.0]])
    system = torch.zeros(4, 4)  # of (x, sin, cos)
    system[:D, :D], system[:D, 2], system[2, 3], system[3, 2] = A, b, math.pi / 2, -math.pi / 2
    start = torch.cat([noise.T, torch.tensor([[0.0, 0.0], [1.0, 1.0]])])
    expected = (torch.linalg.matrix_exp(system) @ start)[:D].T
    torch.testing.assert_close(actor.sample(torch.zeros(2, O), noise), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("squash", [False, True])
def test_unit_actions_invert_to_the_flows_end(squash: bool) -> None:
    actor = flow_actor(squash=squash)
    actor.scale, actor.shift = torch.tensor([0.5, 2.0]), torch.tensor([0.1, -0.2])
    x = torch.tensor([[0.3, -0.9], [2.0, 1.5], [-4.0, 0.0]])
    unit = actor.to_unit(x)
    expected = x * actor.scale + actor.shift
    torch.testing.assert_close(unit, expected.tanh() if squash else expected)
    torch.testing.assert_close(actor.to_flow(unit), x, atol=2e-4, rtol=1e-4)


def test_the_flows_end_is_finite_when_tanh_saturates() -> None:
    actor = flow_actor(squash=True)
    unit = actor.to_unit(torch.tensor([[50.0, -50.0]]))
    assert unit.tolist() == [[1.0, -1.0]]
    x = actor.to_flow(unit)
    assert 7.5 < x[0, 0] < 8.5
    assert x[0, 1] == -x[0, 0]


def test_actions_are_perturbed_with_the_given_deviation() -> None:
    actor = flow_actor()
    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(4000, O)
    plain = actor.act(observation, generator)
    generator.manual_seed(0)
    actor.sampling = replace(actor.sampling, perturbation=0.3)
    difference = actor.act(observation, generator) - plain
    assert difference.std().item() == pytest.approx(0.3, rel=0.05)


def test_the_samplers_gradient_is_that_of_the_plain_integration() -> None:
    actor = flow_actor(output_scale=0.3)
    observation, noise = inputs(7)

    def field(t: float, x: Tensor) -> Tensor:
        velocity: Tensor = 0.3 * actor.velocity(observation, x, x.new_full((7,), t))
        return velocity

    parameters = list(actor.parameters())
    split = torch.autograd.grad(actor.sample(observation, noise).square().sum(), parameters)
    plain = torch.autograd.grad(integrate(field, noise, EULER, GRID).square().sum(), parameters)
    for ours, expected in zip(split, plain, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)
    assert not actor.act(observation, torch.Generator()).requires_grad


def test_the_sampler_follows_the_weights() -> None:
    """After a change of the weights, samples equal those of a new actor with the same weights."""
    actor = flow_actor(name="heun")
    observation, noise = inputs(3)
    before = actor.sample(observation, noise)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.mul_(1.1)
    after = actor.sample(observation, noise)
    assert not torch.allclose(before, after)
    fresh = FpoActor(copy.deepcopy(actor.velocity), Sampling(HEUN, GRID), Draws(), fpo)
    assert torch.equal(after, fresh.sample(observation, noise))
