"""Schedules, the posterior and the sampler against closed forms and independent computations."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_train.modules.ddpm import (
    BETA_MAX,
    Schedule,
    ancestral,
    cosine,
    epsilon_loss,
    linear,
    noised,
    posterior,
)


def betas(levels: Schedule) -> list[float]:
    return [1 - now / before for before, now in itertools.pairwise(levels.alpha_bar)]


@pytest.mark.parametrize("levels", [cosine(1000), cosine(20), linear(1000), linear(50)])
def test_noise_added_step_by_step_has_the_mean_and_variance_of_a_single_step(levels: Schedule) -> None:
    mean, variance = 1.0, 0.0
    assert levels.alpha_bar[0] == 1
    for k, beta in enumerate(betas(levels), start=1):
        assert 0 < beta <= BETA_MAX + 1e-12
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert mean == pytest.approx(math.sqrt(levels.alpha_bar[k]), rel=1e-9)
        assert variance == pytest.approx(1 - levels.alpha_bar[k], rel=1e-9)


def test_the_cosine_schedule_follows_its_formula_up_to_the_bounded_last_step() -> None:
    levels = cosine(100)
    for k in range(100):
        phase = [(j / 100 + 0.008) / 1.008 * math.pi / 2 for j in (k, 0)]
        assert levels.alpha_bar[k] == pytest.approx((math.cos(phase[0]) / math.cos(phase[1])) ** 2, rel=1e-9)
    assert levels.alpha_bar[100] == pytest.approx((1 - BETA_MAX) * levels.alpha_bar[99])


def test_the_linear_schedule_has_the_published_ends_and_the_same_final_noise_with_fewer_steps() -> None:
    assert betas(linear(1000))[0] == pytest.approx(1e-4)
    assert betas(linear(1000))[-1] == pytest.approx(0.02)
    assert math.log(linear(200).alpha_bar[-1]) == pytest.approx(math.log(linear(1000).alpha_bar[-1]), rel=0.1)


def test_a_weighted_loss_is_the_weighted_mean_of_its_rows_losses() -> None:
    alpha_bar, generator = torch.tensor(cosine(10).alpha_bar), torch.Generator()
    o, x0 = torch.zeros(4, 1), torch.randn(4, 3)

    def loss(weights: Tensor | None) -> float:
        drawn = generator.manual_seed(1)
        return float(epsilon_loss(lambda _o, x, _t: 0.5 * x, alpha_bar, o, x0, drawn, weights))

    rows = [loss(w) for w in torch.eye(4)]
    assert loss(None) == pytest.approx(sum(rows)) == pytest.approx(loss(torch.ones(4)))
    assert loss(torch.tensor([0.0, 3.0, 1.0, 0.0])) == pytest.approx(3 * rows[1] + rows[2])


def test_noised_rows_have_the_mean_and_variance_of_their_step() -> None:
    alpha_bar = torch.tensor([0.9, 0.3]).repeat_interleave(50_000)[:, None]
    epsilon = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    rows = noised(torch.full((100_000, 1), 2.0), epsilon, alpha_bar)
    for part, level in ((rows[:50_000], 0.9), (rows[50_000:], 0.3)):
        assert part.mean().item() == pytest.approx(2 * math.sqrt(level), abs=0.02)
        assert part.var().item() == pytest.approx(1 - level, rel=0.03)


@pytest.mark.parametrize(("k", "following"), [(1, 0), (2, 1), (50, 49), (100, 99), (60, 20), (100, 1), (7, 0)])
def test_the_posterior_is_that_of_gaussian_conditioning(k: int, following: int) -> None:
    now, after = (cosine(100).alpha_bar[i] for i in (k, following))
    # x' = √ā' x_0 + ..., x = √α x' + ...: condition their joint normal on x, for x_0 = 0 and x_0 = 1.
    alpha = now / after
    covariance = np.array([[1 - after, math.sqrt(alpha) * (1 - after)], [math.sqrt(alpha) * (1 - after), 1 - now]])
    gain = covariance[0, 1] / covariance[1, 1]
    variance = covariance[0, 0] - gain * covariance[0, 1]
    p = posterior(now, after)
    assert math.sqrt(after) * p.keep / math.sqrt(now) == pytest.approx(gain, abs=1e-12)
    assert math.sqrt(after) * (1 - p.keep) == pytest.approx(math.sqrt(after) - gain * math.sqrt(now), abs=1e-12)
    assert p.std**2 == pytest.approx(variance, abs=1e-12)


def test_between_adjacent_steps_the_posterior_variance_is_the_published_one() -> None:
    levels = linear(100)
    for k, beta in enumerate(betas(levels), start=1):
        before, now = levels.alpha_bar[k - 1], levels.alpha_bar[k]
        assert posterior(now, before).std ** 2 == pytest.approx(
            (1 - before) / (1 - now) * beta, rel=1e-6, abs=1e-15
        )


MU, TAU = 0.8, 0.3


def optimal(levels: Schedule, t: float, x: Tensor) -> Tensor:
    """Return E[ε | x] for data from N(MU, TAU²)."""
    a = levels.alpha_bar[levels.step(t)]
    return math.sqrt(1 - a) * (x - math.sqrt(a) * MU) / (a * TAU**2 + 1 - a)


@pytest.mark.parametrize("levels", [cosine(1000), linear(1000)])
def test_with_the_optimal_denoiser_of_a_gaussian_samples_have_its_mean_and_variance(levels: Schedule) -> None:
    noise = torch.randn(10_000, 1000, 1, generator=torch.Generator().manual_seed(0))
    samples = ancestral(lambda t, x: optimal(levels, t, x), noise, levels, levels.t_grid(1000))
    assert samples.mean().item() == pytest.approx(MU, abs=0.01)
    assert samples.std().item() == pytest.approx(TAU, rel=0.03)


@pytest.mark.parametrize("steps", [3, 20, 100])
def test_fewer_steps_keep_the_mean_and_reduce_the_standard_deviation(steps: int) -> None:
    levels = cosine(1000)
    t_grid = levels.t_grid(steps)
    # The sampler is affine here: its outputs for 0 and for each unit draw give the exact mean and variance.
    probes = torch.cat([torch.zeros(1, steps), torch.eye(steps)]).double()[..., None]
    ends = ancestral(lambda t, x: optimal(levels, t, x), probes, levels, t_grid)[:, 0]
    mean, std = ends[0].item(), (ends[1:] - ends[0]).square().sum().sqrt().item()
    noise = torch.randn(20_000, steps, 1, generator=torch.Generator().manual_seed(0))
    samples = ancestral(lambda t, x: optimal(levels, t, x), noise, levels, t_grid)
    assert mean == pytest.approx(MU, abs=0.03)
    assert samples.mean().item() == pytest.approx(mean, abs=0.01)
    assert samples.std().item() == pytest.approx(std, rel=0.02)
    assert {3: 0.4, 20: 0.8, 100: 0.94}[steps] * TAU < std < {3: 0.7, 20: 0.85, 100: 0.96}[steps] * TAU


def test_each_draw_is_used_once_at_its_step_and_the_last_step_adds_none() -> None:
    levels, S = cosine(50), 6
    t_grid = levels.t_grid(S)
    level = [levels.alpha_bar[levels.step(t)] for t in t_grid]
    noise = torch.zeros(1, S, 1, dtype=torch.float64, requires_grad=True)
    # A denoiser with the constant output 0 predicts x_0 = x / √ᾱ, so y = x / √ᾱ changes by the draws alone.
    ancestral(lambda _, x: 0 * x, noise, levels, t_grid).sum().backward()  # type: ignore[no-untyped-call]
    expected = [1 / math.sqrt(level[0])]
    expected += [posterior(level[i], level[i + 1]).std / math.sqrt(level[i + 1]) for i in range(S - 1)]
    assert noise.grad is not None
    assert noise.grad[0, :, 0].tolist() == pytest.approx(expected, rel=1e-9)


def test_every_predicted_x0_is_bounded() -> None:
    levels, seen = cosine(20), []

    def bound(x0: Tensor) -> Tensor:
        seen.append(x0)
        return x0.clamp(-0.5, 0.25)

    noise = torch.randn(50, 5, 2, generator=torch.Generator().manual_seed(1))
    samples = ancestral(lambda _, x: -x, noise, levels, levels.t_grid(5), bound)
    assert len(seen) == 5
    assert (samples.min().item(), samples.max().item()) == (-0.5, 0.25)


def test_the_loss_is_zero_for_the_exact_denoiser_and_one_for_a_zero_denoiser() -> None:
    levels = cosine(30)
    alpha_bar = torch.tensor(levels.alpha_bar, dtype=torch.float64)
    action = torch.full((4000, 2), 0.7, dtype=torch.float64)

    def oracle(_: Tensor, x: Tensor, t: Tensor) -> Tensor:
        a = alpha_bar[((1 - t) * 30).round().long()][:, None]
        return (x - a.sqrt() * 0.7) / (1 - a).sqrt()

    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(4000, 3, dtype=torch.float64)
    assert epsilon_loss(oracle, alpha_bar, observation, action, generator).item() < 1e-20
    zero = epsilon_loss(lambda _, x, __: 0 * x, alpha_bar, observation, action, generator)
    assert zero.item() == pytest.approx(1, abs=0.05)


def test_a_grid_visits_every_step_or_evenly_spaced_ones_and_ends_at_the_data() -> None:
    levels = cosine(1000)
    assert [levels.step(t) for t in levels.t_grid(1000)] == list(range(1000, -1, -1))
    assert [levels.step(t) for t in levels.t_grid(4)] == [751, 501, 251, 1, 0]
    assert cosine(10).t_grid(3) == pytest.approx((0.3, 0.6, 0.9, 1.0))
    assert levels.t_grid(7)[-1] == 1.0
    assert 1 / math.sqrt(levels.alpha_bar[levels.step(levels.t_grid(100)[0])]) == pytest.approx(71, abs=1)


@pytest.mark.parametrize("steps", [0, -3, 11])
def test_a_number_of_steps_out_of_range_is_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=rf"from 1 to 10.*got {steps}"):
        cosine(10).t_grid(steps)
