"""The log-density of a flow's end: closed form, brute force, Euler's map, gradient."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.fm_ppo import FmPpoActor
from odeploy_train.flow_rl.log_density import log_density
from odeploy_train.modules.flow_paths import sign_probes, unit_probes
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.ode import EULER, RK4, Tableau, uniform_grid

O, D = 3, 2  # noqa: E741


def flow(steps: int = 10, tableau: Tableau = EULER, output_scale: float = 1.0) -> FlowActor:
    """Return an actor with large weights, in float64."""
    actor = FmPpoActor(VelocityNet(O, D, 16, 3), Sampling(tableau, uniform_grid(steps), output_scale=output_scale))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return actor.double()


def linear_flow(A: Tensor, b: Tensor, steps: int, tableau: Tableau = EULER) -> FlowActor:
    """Return the flow v = A x + b. One layer is exact, since silu(z) - silu(-z) = z."""
    net = VelocityNet(O, D, width=2 * D, depth=1)
    rows = torch.zeros(D, net.first.in_features)
    rows[:, O : O + D] = A
    with torch.no_grad():
        net.first.weight.copy_(torch.cat([rows, -rows]))
        net.first.bias.copy_(torch.cat([b, -b]))
        net.last.weight.copy_(torch.cat([torch.eye(D), -torch.eye(D)], dim=1))
        net.last.bias.zero_()
    return FmPpoActor(net, Sampling(tableau, uniform_grid(steps))).double()


def inputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(count, O, generator=generator, dtype=torch.float64)
    return observation, torch.randn(count, D, generator=generator, dtype=torch.float64)


def normal(x: Tensor) -> Tensor:
    """Return log N(x; 0, I)."""
    return -0.5 * x.square().sum(-1) - 0.5 * D * math.log(2 * math.pi)


def test_a_linear_flow_has_the_density_of_its_gaussian_and_eulers_error_falls_with_the_step() -> None:
    """x_1 = Φ x_0 + c with Φ = e^A and c = A⁻¹ (Φ - I) b; log |det Φ| = tr A."""
    A, b = torch.tensor([[0.4, -1.1], [0.7, -0.9]]), torch.tensor([1.0, -2.0])
    observation, x1 = inputs(6)
    wide = A.double()
    transition = torch.linalg.matrix_exp(wide)
    shift = torch.linalg.solve(wide, (transition - torch.eye(D)) @ b.double())
    x0 = torch.linalg.solve(transition, (x1 - shift).T).T
    expected = normal(x0) - wide.trace()

    def found(steps: int, tableau: Tableau = EULER) -> Tensor:
        actor = linear_flow(A, b, steps, tableau)
        return log_density(actor, observation, x1, unit_probes(x1)).detach()

    torch.testing.assert_close(found(40, RK4), expected, atol=1e-6, rtol=0)
    errors = [(found(steps) - expected).abs().max().item() for steps in (20, 40, 80)]
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("output_scale", [1.0, 0.4])
def test_the_exact_trace_is_that_of_brute_force_jacobians_along_the_reverse_path(output_scale: float) -> None:
    actor = flow(7, output_scale=output_scale)
    observation, x1 = inputs(5)
    found = log_density(actor, observation, x1, unit_probes(x1))
    for i in range(5):

        def velocity(x: Tensor, t: float, i: int = i) -> Tensor:
            row: Tensor = actor.velocity(observation[i : i + 1], x[None], x.new_tensor([t]))
            return output_scale * row[0]

        x, integral = x1[i], 0.0
        for k in range(7, 0, -1):
            integral += torch.func.jacrev(velocity)(x, k / 7).trace().item() / 7
            x = x - velocity(x, k / 7) / 7
        assert found[i].item() == pytest.approx(normal(x).item() - integral, abs=1e-9)


def test_the_mean_over_all_signs_is_the_exact_trace_and_a_single_estimate_is_not() -> None:
    actor = flow()
    observation, x1 = inputs(5)
    exact = log_density(actor, observation, x1, unit_probes(x1))
    by_signs = torch.stack([
        log_density(actor, observation, x1, x1.new_tensor(signs).expand(5, 1, D))
        for signs in product((-1.0, 1.0), repeat=D)
    ])  # fmt: skip
    torch.testing.assert_close(by_signs.mean(0), exact, atol=1e-9, rtol=0)
    assert (by_signs[0] - exact).abs().max() > 1e-3
    drawn = sign_probes(x1, 4, torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 4, D)
    torch.testing.assert_close(drawn.square().sum(1), torch.ones_like(x1))


def test_the_density_is_the_continuous_flows_and_not_eulers_maps() -> None:
    """v = -c x. In reverse, x_0 = x_1 (1 + c/K)^K and Σ dt div v = -c D.

    Euler's map of K steps has x_0 = x_1 (1 - c/K)^-K and the determinant (1 - c/K)^(K D). The two agree only for
    many steps.
    """
    c = 3.0
    observation, x1 = inputs(4)
    x1 = 0.1 * x1
    for steps, differ in ((10, True), (1600, False)):
        actor = linear_flow(-c * torch.eye(D), torch.zeros(D), steps)
        found = log_density(actor, observation, x1, unit_probes(x1)).detach()
        torch.testing.assert_close(found, normal(x1 * (1 + c / steps) ** steps) + c * D, atol=1e-5, rtol=0)
        of_eulers_map = normal(x1 * (1 - c / steps) ** -steps) - D * steps * math.log(1 - c / steps)
        assert bool(((found - of_eulers_map).abs() > 0.1).any()) == differ


def test_the_gradient_includes_the_path_and_the_trace() -> None:
    """Compare with central differences along a random direction of all weights."""
    actor = flow(6)
    observation, x1 = inputs(4)
    generator = torch.Generator().manual_seed(3)
    probes = sign_probes(x1, 1, generator)
    parameters = list(actor.velocity.parameters())
    along = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in parameters]

    def moved(by: float) -> float:
        with torch.no_grad():
            for weight, step in zip(parameters, along, strict=True):
                weight.add_(step, alpha=by)
            value = log_density(actor, observation, x1, probes).sum().item()
            for weight, step in zip(parameters, along, strict=True):
                weight.add_(step, alpha=-by)
        return value

    gradient = torch.autograd.grad(log_density(actor, observation, x1, probes).sum(), parameters)
    slope = sum(float((g * step).sum()) for g, step in zip(gradient, along, strict=True))
    h = 1e-6
    assert slope == pytest.approx((moved(h) - moved(-h)) / (2 * h), rel=1e-5)
