"""Paths without gradients, the Jacobian of a velocity with its gradient, and probes of a trace."""

import torch

from odeploy_train.modules.flow_paths import sign_probes, solve, unit_probes, velocity_and_jacobian
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.ode import EULER, integrate, uniform_grid


def net(seed: int = 0, D: int = 3) -> VelocityNet:
    made = VelocityNet(2, D, width=16, depth=3)
    initialise(made, torch.Generator().manual_seed(seed))
    return made


def points(rows: int, D: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(rows, D, generator=generator), torch.rand(rows, generator=generator)
    return torch.randn(rows, 2, generator=generator), x, t


def exact_jacobian(v: VelocityNet, observation: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return each row's Jacobian by autograd; column j is the derivative by x_j."""
    jacobian: torch.Tensor = torch.func.vmap(
        torch.func.jacrev(lambda o, x, t: v(o[None], x[None], t[None])[0], argnums=1)
    )(observation, x, t)  # fmt: skip
    return jacobian


def test_a_path_visits_the_states_of_the_ordinary_solver() -> None:
    v, generator = net(), torch.Generator().manual_seed(2)
    observation, noise = torch.randn(4, 2, generator=generator), torch.randn(4, 5, 3, generator=generator)
    path = solve(v, observation, noise, 6)
    repeated = observation.repeat_interleave(5, dim=0)
    visited: list[torch.Tensor] = []

    def field(t: float, x: torch.Tensor) -> torch.Tensor:
        visited.append(x)
        answer: torch.Tensor = v(repeated, x, x.new_full((len(x),), t))
        return answer

    end = integrate(field, noise.flatten(0, 1), EULER, uniform_grid(6))
    torch.testing.assert_close(path.end.flatten(0, 1), end)
    torch.testing.assert_close(path.states.flatten(1, 2), torch.stack(visited))
    torch.testing.assert_close(path.times, torch.arange(6) / 6)
    assert torch.equal(path.states[0], noise)


def test_a_path_has_no_gradient() -> None:
    noise = torch.randn(4, 5, 3, requires_grad=True)
    path = solve(net(), torch.randn(4, 2), noise, 3)
    assert not path.end.requires_grad
    assert not path.states.requires_grad


def test_the_jacobian_is_that_of_autograd() -> None:
    v, at = net(), points(20)
    velocity, jacobian = velocity_and_jacobian(v, *at)
    torch.testing.assert_close(velocity, v(*at))
    torch.testing.assert_close(jacobian.mT, exact_jacobian(v, *at), rtol=1e-4, atol=1e-5)


def test_the_jacobians_gradient_is_that_of_autograd() -> None:
    v, at = net(), points(8)
    ours, exact = (
        torch.autograd.grad(torch.linalg.det(torch.eye(3) + jacobian).sum(), v.first.weight)[0]
        for jacobian in (velocity_and_jacobian(v, *at)[1], exact_jacobian(v, *at))
    )
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-5)


def test_probes_sum_a_matrix_to_its_trace_exactly_or_in_the_mean() -> None:
    matrix, rows = torch.randn(3, 3, generator=torch.Generator().manual_seed(2)), torch.zeros(20_000, 3)
    for probes in (unit_probes(rows), sign_probes(rows, 2, torch.Generator().manual_seed(3))):
        traces = torch.einsum("rpi,ij,rpj->r", probes, matrix, probes)
        error = 1e-5 + 4 * float(traces.std()) / len(rows) ** 0.5
        assert abs(float(traces.mean()) - float(matrix.trace())) < error
