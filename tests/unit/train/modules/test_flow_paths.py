"""Paths without gradients, and the divergence: exact, or an unbiased estimate."""

import torch

from odeploy_train.modules.flow_paths import sign_probes, solve, unit_probes, velocity_and_divergence
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


def exact_trace(v: VelocityNet, observation: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return the trace of each row's whole Jacobian."""
    jacobian = torch.func.vmap(
        torch.func.jacrev(lambda o, x, t: v(o[None], x[None], t[None])[0], argnums=1)
    )(observation, x, t)  # fmt: skip
    trace: torch.Tensor = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)
    return trace


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


def test_with_unit_vectors_the_divergence_is_the_exact_trace() -> None:
    v, at = net(), points(20)
    velocity, divergence = velocity_and_divergence(v, *at, unit_probes(at[1]))
    torch.testing.assert_close(velocity, v(*at))
    torch.testing.assert_close(divergence, exact_trace(v, *at), rtol=1e-4, atol=1e-5)


def test_with_random_signs_the_divergence_is_unbiased() -> None:
    v, draws = net(), 20_000
    o, x, t = (row[:1] for row in points(1))
    exact = exact_trace(v, o, x, t).item()
    repeated = o.expand(draws, -1), x.expand(draws, -1), t.expand(draws)
    probes = sign_probes(repeated[1], 1, torch.Generator().manual_seed(3))
    with torch.no_grad():
        estimates = velocity_and_divergence(v, *repeated, probes)[1]
    error = float(estimates.std()) / draws**0.5
    assert error > 0
    assert abs(float(estimates.mean()) - exact) < 4 * error


def test_the_divergences_gradient_is_that_of_the_exact_trace() -> None:
    v, at = net(), points(8)
    _, divergence = velocity_and_divergence(v, *at, unit_probes(at[1]))
    ours = torch.autograd.grad(divergence.sum(), v.first.weight)[0]
    exact = torch.autograd.grad(exact_trace(v, *at).sum(), v.first.weight)[0]
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-5)
