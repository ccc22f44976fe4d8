"""The two objectives: gradient at the old policy, clips, limits, and their relation to likelihood ratios."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from odeploy_train.flow_rl.fpo import DIFFERENCE_LIMIT, LOSS_LIMIT, Draws, fpo, fpo_plus_plus, spo
from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.runs.learning_curve import Info

Objective = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Info]]
OBJECTIVES: dict[str, Objective] = {
    "fpo": fpo,
    "fpo++": fpo_plus_plus,
    "fpo++ with PPO's clip": partial(fpo_plus_plus, trust_region="ppo"),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def value_and_gradient(objective: Objective, old: Tensor, new: Tensor, advantage: Tensor) -> tuple[float, Tensor]:
    new = new.clone().requires_grad_()
    loss, _ = objective(old, new, advantage, 0.1)
    return loss.item(), torch.autograd.grad(loss, new)[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_at_the_old_policy_the_gradient_is_the_advantage_times_the_mean_losss(name: str) -> None:
    losses, advantage = torch.rand(6, 5, generator=generator()), torch.randn(6, generator=generator(1))
    value, gradient = value_and_gradient(OBJECTIVES[name], losses, losses, advantage)
    assert value == pytest.approx(-advantage.mean().item(), rel=1e-5)
    torch.testing.assert_close(gradient, (advantage / 6)[:, None].expand(6, 5) / 5)


def test_fpos_ratio_is_of_the_mean_losses_and_fpo_plus_pluss_of_each_draw() -> None:
    old, new, advantage = torch.tensor([[0.10, 0.00]]), torch.tensor([[0.0, 0.06]]), torch.ones(1)
    assert fpo(old, new, advantage, 0.5)[0].item() == pytest.approx(-math.exp(0.02))
    expected = -(math.exp(0.10) + math.exp(-0.06)) / 2
    assert fpo_plus_plus(old, new, advantage, 0.5)[0].item() == pytest.approx(expected)


def test_with_one_draw_and_ppos_clip_both_are_the_same_in_value_and_gradient() -> None:
    old, new = torch.rand(64, 1, generator=generator()), torch.rand(64, 1, generator=generator(1))
    advantage = torch.randn(64, generator=generator(2))
    ours = value_and_gradient(fpo, old, new, advantage)
    theirs = value_and_gradient(OBJECTIVES["fpo++ with PPO's clip"], old, new, advantage)
    assert ours[0] == pytest.approx(theirs[0])
    torch.testing.assert_close(ours[1], theirs[1])
    assert (ours[1] == 0).any()
    assert (ours[1] != 0).any()


def test_with_one_draw_aspo_is_fpo_where_the_advantage_is_not_negative_and_only_there() -> None:
    old, new = torch.rand(64, 1, generator=generator()), torch.rand(64, 1, generator=generator(1))
    advantage = torch.randn(64, generator=generator(2))
    better = advantage.clamp(min=0)
    ours, theirs = value_and_gradient(fpo, old, new, better), value_and_gradient(fpo_plus_plus, old, new, better)
    assert ours[0] == pytest.approx(theirs[0])
    torch.testing.assert_close(ours[1], theirs[1])
    _, worse = value_and_gradient(fpo, old, new, -better)
    _, softer = value_and_gradient(fpo_plus_plus, old, new, -better)
    assert not torch.allclose(worse, softer)


def test_spo_has_a_gradient_beyond_ppos_clip() -> None:
    """A < 0 and ρ below 1 - ε: PPO's gradient is 0, SPO's raises ρ."""
    ratio = torch.tensor([0.5], requires_grad=True)
    advantage = torch.tensor([-1.0])
    (ppo,) = torch.autograd.grad(clipped_surrogate(ratio, advantage, 0.1)[0], ratio)
    (ours,) = torch.autograd.grad(spo(ratio, advantage, 0.1), ratio)
    assert ppo.item() == 0
    assert ours.item() == pytest.approx(1 + (0.5 - 1) / 0.1)  # derivative of ρ + (ρ - 1)² / (2 ε)
    assert ours.item() < 0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_spos_maximum_is_at_the_edge_of_the_trust_region(sign: float) -> None:
    ratio = torch.tensor([1 + sign * 0.1], requires_grad=True)
    (gradient,) = torch.autograd.grad(spo(ratio, torch.tensor([sign * 3.0]), 0.1), ratio)
    assert gradient.item() == pytest.approx(0, abs=1e-5)


def test_a_large_ratio_of_fpo_is_limited_and_its_gradient_reduces_it() -> None:
    old, new = torch.full((4, 2), 200.0), torch.zeros(4, 2)
    value, gradient = value_and_gradient(OBJECTIVES["fpo"], old, new, -torch.ones(4))
    assert value == pytest.approx(math.exp(10), rel=1e-5)
    assert (gradient < 0).all()  # a descent step raises these losses


def test_large_losses_of_fpo_plus_plus_are_limited() -> None:
    """Old 1000, new 0: the old one is limited to 20, the difference to 10. Exchanged, the gradient is 0."""
    large, zero, advantage = torch.tensor([[1000.0]]), torch.zeros(1, 1), torch.tensor([-1.0])
    value, gradient = value_and_gradient(OBJECTIVES["fpo++ with PPO's clip"], large, zero, advantage)
    assert value == pytest.approx(math.exp(DIFFERENCE_LIMIT))
    assert gradient.item() == pytest.approx(-math.exp(DIFFERENCE_LIMIT))
    value, gradient = value_and_gradient(OBJECTIVES["fpo++ with PPO's clip"], zero, large, -advantage)
    assert value == pytest.approx(-math.exp(-LOSS_LIMIT))
    assert gradient.item() == 0


@dataclass(frozen=True)
class Gaussian:
    """N(μ, σ²) as a flow: the best velocity for its own samples is linear in x.

    x_t = (1 - t) ε + t a has mean t μ and variance (1 - t)² + t² σ², and covariance t σ² - (1 - t) with a - ε, so
    E[a - ε | x_t = x] = μ + k(t) (x - t μ).
    """

    mean: float
    std: float

    def slope(self, t: Tensor) -> Tensor:
        variance = self.std**2
        return (t * variance - (1 - t)) / ((1 - t).square() + t.square() * variance)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        return self.mean + self.slope(t)[:, None] * (x - t[:, None] * self.mean)

    def losses(self, action: float, noise: Tensor, t: Tensor, weight: Tensor) -> Tensor:
        x, target = straight_path(noise, torch.full_like(noise, action), t)
        return weight * (self.velocity(x, t) - target).square().sum(-1)

    def expected_loss(self, action: float, t: Tensor) -> Tensor:
        """Return E over ε of the u-loss at t: v - (a - ε) = (μ - a)(1 - k t) + ε (1 + k (1 - t))."""
        k = self.slope(t)
        return (action - self.mean) ** 2 * (1 - k * t).square() + (1 + k * (1 - t)).square()


OLD, NEW = Gaussian(0.3, 0.7), Gaussian(-0.2, 0.5)
DRAWS = 400_000


def draws() -> tuple[Tensor, Tensor]:
    """Return noise and stratified times, one in each interval of length 1/DRAWS."""
    cells = torch.arange(DRAWS, dtype=torch.float64)
    t = (cells + torch.rand(DRAWS, generator=generator(), dtype=torch.float64)) / DRAWS
    return torch.randn(DRAWS, 1, generator=generator(1), dtype=torch.float64), t


@pytest.mark.parametrize("action", [-1.0, 0.1, 0.9])
def test_the_loss_difference_weighted_by_t_over_1_minus_t_is_the_log_likelihood_ratio(action: float) -> None:
    """With γ = t² / (1 - t)² the signal-to-noise ratio, -log p(a) = const + ½ ∫ E|a - â|² dγ for the best guess â
    of a from x_t (Kong et al., arXiv 2302.03792). Here a - â = (1 - t)(a - ε - v), and ½ (1 - t)² dγ/dt is
    t / (1 - t)."""
    noise, t = draws()
    weight = t / (1 - t)
    difference = OLD.losses(action, noise, t, weight) - NEW.losses(action, noise, t, weight)
    densities = [Normal(g.mean, g.std).log_prob(torch.tensor(action)) for g in (NEW, OLD)]  # type: ignore[no-untyped-call]
    assert difference.mean().item() == pytest.approx((densities[0] - densities[1]).item(), abs=0.02)


@pytest.mark.parametrize("supervised", ["u", "eps"])
@pytest.mark.parametrize("action", [-1.0, 0.9])
def test_plain_losses_approach_their_quadrature_which_is_no_likelihood(
    supervised: Literal["u", "eps"], action: float
) -> None:
    noise, t = draws()
    weight = Draws(supervised=supervised).weight(t, 1)
    nodes, at = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(60))
    nodes, at = (nodes + 1) / 2, at / 2
    ratios = []
    for gaussian in (OLD, NEW):
        quadrature = (
            at * Draws(supervised=supervised).weight(nodes, 1) * gaussian.expected_loss(action, nodes)
        ).sum()
        found = gaussian.losses(action, noise, t, weight).mean()
        assert found.item() == pytest.approx(quadrature.item(), rel=0.01)
        ratios.append(quadrature)
    densities = [Normal(g.mean, g.std).log_prob(torch.tensor(action)) for g in (NEW, OLD)]  # type: ignore[no-untyped-call]
    likelihood = (densities[0] - densities[1]).item()
    assert abs((ratios[0] - ratios[1]).item() - likelihood) > 0.1 * abs(likelihood)
    assert (ratios[0] - ratios[1]).item() * likelihood > 0


def test_the_ratio_is_too_large_on_average_and_less_so_with_more_draws() -> None:
    """Jensen: differences N(0, 1) in each draw, whose true ratio is 1."""
    differences = torch.randn(20_000, 16, generator=generator(), dtype=torch.float64)
    for count in (1, 4, 16):
        difference = differences[:, :count]
        found, _ = fpo(difference, torch.zeros_like(difference), torch.ones(20_000, dtype=torch.float64), 1e9)
        assert -found.item() == pytest.approx(math.exp(0.5 / count), rel=0.05)
