"""Solvers: validated tableaus, convergence at the stated order, slopes used only by `advance`."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_train.modules.ode import (
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    SOLVERS,
    Tableau,
    axpy,
    integrate,
    solver,
    uniform_grid,
)

A = torch.tensor([[-0.5, 1.5], [-1.5, -0.5]], dtype=torch.float64)  # a spiral
X0 = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)


def spiral(t: float, x: Tensor) -> Tensor:
    return x @ A.T


def exact(t: float) -> Tensor:
    solution: Tensor = X0 @ torch.linalg.matrix_exp(A * t).T
    return solution


def uneven_grid(steps: int) -> tuple[float, ...]:
    return tuple((k / steps) ** 1.5 for k in range(steps + 1))


@pytest.mark.parametrize("make", [uniform_grid, uneven_grid])
@pytest.mark.parametrize("tableau", SOLVERS.values(), ids=SOLVERS)
def test_the_error_falls_with_the_stated_order(tableau: Tableau, make: Callable[[int], tuple[float, ...]]) -> None:
    steps = np.array([16, 32, 64, 128])
    errors = [(integrate(spiral, X0, tableau, make(int(k))) - exact(1)).norm().item() for k in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(tableau.order, abs=0.1)


@pytest.mark.parametrize("tableau", SOLVERS.values(), ids=SOLVERS)
def test_a_field_of_time_alone_is_a_quadrature_of_the_stated_order(tableau: Tableau) -> None:
    def power(t: float, x: Tensor) -> Tensor:
        return torch.full_like(x, tableau.order * t ** (tableau.order - 1))

    x = integrate(power, torch.zeros(1, 1, dtype=torch.float64), tableau, (0.0, 0.3, 1.0))
    assert x.item() == pytest.approx(1.0, abs=1e-14)


def test_one_euler_step_by_hand() -> None:
    x = integrate(lambda t, x: 3 * x + t, torch.tensor([[2.0, -1.0]]), EULER, (0.5, 0.75))
    torch.testing.assert_close(x, torch.tensor([[2.0 + 0.25 * 6.5, -1.0 + 0.25 * -2.5]]))


def test_one_heun_step_by_hand() -> None:
    x = integrate(lambda t, x: t * x, torch.tensor([[2.0]]), HEUN, (1.0, 1.5))
    torch.testing.assert_close(x, torch.tensor([[2.0 + 0.25 * (1.0 * 2.0 + 1.5 * 3.0)]]))


def test_time_runs_from_noise_to_action() -> None:
    action = torch.tensor([[0.7, -0.2]], dtype=torch.float64)
    noise = torch.tensor([[-1.3, 0.4]], dtype=torch.float64)

    def towards_the_action(t: float, x: Tensor) -> Tensor:
        return (action - x) / (1 - t)  # the velocity of the straight path x_t = (1 - t) noise + t action

    path = [integrate(towards_the_action, noise, EULER, tuple(k / 40 for k in range(n + 1))) for n in (10, 40)]
    torch.testing.assert_close(path[0], 0.75 * noise + 0.25 * action)
    torch.testing.assert_close(path[1], action)


def test_integrating_there_and_back_returns_to_the_start() -> None:
    there = integrate(spiral, X0, RK4, uniform_grid(50))
    back = integrate(spiral, there, RK4, uniform_grid(50)[::-1])
    torch.testing.assert_close(back, X0, atol=1e-7, rtol=0)


def test_stages_see_exact_float_times() -> None:
    seen: list[float] = []

    def note(t: float, x: Tensor) -> Tensor:
        seen.append(t)
        return x

    integrate(note, torch.ones(1, 1), RK4, uniform_grid(10))
    expected = [k / 10 + c * ((k + 1) / 10 - k / 10) for k in range(10) for c in (0.0, 0.5, 0.5, 1.0)]
    assert all(type(t) is float for t in seen)
    assert seen == expected


@pytest.mark.parametrize(
    ("tableau", "scales"),
    [
        (EULER, [1.0]),
        (MIDPOINT, [0.5, 1.0]),
        (HEUN, [1.0, 0.5, 0.5]),
        (RK4, [0.5, 0.5, 1.0, 1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    ],
    ids=["euler", "midpoint", "heun", "rk4"],
)
def test_slopes_are_used_only_by_advance_and_zero_coefficients_cost_nothing(
    tableau: Tableau, scales: list[float]
) -> None:
    weights, used = torch.randn(5, 2, dtype=torch.float64), []

    def hidden(t: float, x: Tensor) -> Tensor:
        return torch.cat([x, x, x[:, :1]], dim=-1).tanh()  # (B, 5): not addable to x

    def gemm(x: Tensor, slope: Tensor, scale: float) -> Tensor:
        used.append(scale)
        return torch.addmm(x, slope, weights, alpha=scale)

    fused = integrate(hidden, X0, tableau, (0.0, 1.0), advance=gemm)
    assert used == pytest.approx(scales)
    torch.testing.assert_close(fused, integrate(lambda t, x: hidden(t, x) @ weights, X0, tableau, (0.0, 1.0)))


def test_axpy_adds_the_scaled_slope() -> None:
    assert axpy(torch.tensor([1.0]), torch.tensor([4.0]), 0.25).item() == 2.0


def test_the_grid_is_computed_by_division_not_by_summation() -> None:
    grid = uniform_grid(10)
    assert grid == tuple(k / 10 for k in range(11))
    assert grid[3] != 0.1 + 0.1 + 0.1  # the running sum
    assert (grid[0], grid[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_grid_without_steps_is_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=f"expected at least 1, got {steps}"):
        uniform_grid(steps)


def test_an_unknown_solver_is_refused_with_the_choices() -> None:
    assert solver("heun") is HEUN
    with pytest.raises(UsageError, match="expected one of euler, midpoint, heun, rk4, got 'dopri5'"):
        solver("dopri5")


@pytest.mark.parametrize(
    ("a", "b", "order", "message"),
    [
        (((), (0.5, 0.5)), (0.0, 1.0), 2, "row i of a must have i entries"),
        (((),), (0.5, 0.5), 2, "row i of a must have i entries, for 2 stages"),
        (((), (1.0,)), (0.5, 0.4), 2, "b sums to 0.9"),
        (((),), (1.0,), 2, "1 stages cannot have order 2"),
    ],
)
def test_an_inconsistent_tableau_is_refused(
    a: tuple[tuple[float, ...], ...], b: tuple[float, ...], order: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Tableau("wrong", a, b, order)


def test_stage_times_are_row_sums() -> None:
    assert RK4.c == (0.0, 0.5, 0.5, 1.0)
    assert MIDPOINT.c == (0.0, 0.5)
