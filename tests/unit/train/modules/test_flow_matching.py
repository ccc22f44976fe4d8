"""Flow matching: the path, the loss by hand, and the field that minimises it on a known target."""

import math

import pytest
import torch
from torch import Tensor

from odeploy_train.modules.flow_matching import flow_matching_loss, straight_path
from odeploy_train.modules.ode import RK4, integrate, uniform_grid

MEAN, STD = 0.6, 0.5
"""Moments of the one-dimensional Gaussian that represents the demonstrated actions."""


def optimal(t: Tensor, x: Tensor) -> Tensor:
    """Return E[x1 - x0 | x_t = x] for x1 ~ N(MEAN, STD²)."""
    variance = (1 - t) ** 2 + (t * STD) ** 2
    return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)


def gaussian_loss(slope_error: float = 0.0, offset: float = 0.0, sign: float = 1.0) -> float:
    generator = torch.Generator().manual_seed(3)
    x1 = MEAN + STD * torch.randn(50_000, 1, generator=generator, dtype=torch.float64)

    def velocity(observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return sign * optimal(t[:, None], x) + slope_error * x + offset

    return flow_matching_loss(velocity, x1, x1, generator).item()


def test_the_path_starts_at_noise_and_ends_at_the_action() -> None:
    x0, x1 = torch.tensor([[4.0, 0.0]] * 3), torch.tensor([[0.0, 8.0]] * 3)
    x_t, target = straight_path(x0, x1, torch.tensor([0.0, 0.25, 1.0]))
    assert x_t.tolist() == [[4, 0], [3, 2], [0, 8]]
    assert target.tolist() == [[-4, 8]] * 3


def test_the_loss_of_a_zero_field_is_the_mean_square_of_action_minus_noise() -> None:
    x1 = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    x0 = torch.randn(2, 2, generator=torch.Generator().manual_seed(5))
    loss = flow_matching_loss(
        lambda observation, x, t: torch.zeros_like(x), torch.ones(2, 3), x1, torch.Generator().manual_seed(5)
    )
    by_hand = sum((x1[i, j] - x0[i, j]).item() ** 2 for i in range(2) for j in range(2)) / 4
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


def test_the_loss_evaluates_the_network_at_the_point_on_the_path() -> None:
    x1, seen = torch.full((4, 2), 10.0), []

    def velocity(observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
        seen.append((observation, x, t))
        return x

    flow_matching_loss(velocity, torch.ones(4, 3), x1, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    x0, t = torch.randn(4, 2, generator=generator), torch.rand(4, generator=generator)
    torch.testing.assert_close(seen[0], (torch.ones(4, 3), (1 - t[:, None]) * x0 + 10 * t[:, None], t))


def test_the_analytic_field_of_a_gaussian_has_the_minimal_loss() -> None:
    # ∫ Var(x1 - x0 | x_t) dt = ∫ s² / ((1 - t)² + t² s²) dt = s π / 2
    assert gaussian_loss() == pytest.approx(STD * math.pi / 2, abs=0.01)


@pytest.mark.parametrize("worse", [{"slope_error": 0.1}, {"slope_error": -0.1}, {"offset": 0.1}, {"sign": -1.0}])
def test_other_fields_have_a_larger_loss(worse: dict[str, float]) -> None:
    assert gaussian_loss(**worse) > gaussian_loss() + 0.003


def test_the_analytic_field_carries_noise_to_the_gaussian() -> None:
    x0 = torch.tensor([[-2.0], [0.0], [1.0]], dtype=torch.float64)
    x1 = integrate(lambda t, x: optimal(torch.tensor(t), x), x0, RK4, uniform_grid(100))
    torch.testing.assert_close(x1, MEAN + STD * x0, atol=1e-6, rtol=0)


def test_the_same_generator_state_gives_the_same_loss() -> None:
    assert gaussian_loss() == gaussian_loss()
