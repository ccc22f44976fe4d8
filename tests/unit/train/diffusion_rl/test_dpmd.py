"""DPMD: weights, temperature, one sampling for target and regression, and a bowl."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from odeploy_train.diffusion_rl.dpmd import Config, DpmdActor, mirror_weights
from odeploy_train.modules.ddpm import cosine, epsilon_loss
from odeploy_train.modules.networks import VelocityNet, initialise
from tests.bowl import OBSERVATION, Bowl, batch
from tests.thorough import mostly_thorough


def actor(**options: float) -> DpmdActor:
    denoiser = VelocityNet(OBSERVATION, 1, width=32, depth=2)
    initialise(denoiser, torch.Generator().manual_seed(0))
    return DpmdActor(Config("multigoal-2d", Path(), **options), denoiser, cosine(8))  # type: ignore[arg-type]


def test_weights_are_exponential_in_the_standardised_value_with_mean_one() -> None:
    value = torch.tensor([1.0, 3.0, 1.0, 3.0])  # z = -1, 1, -1, 1
    low, high = math.exp(-0.5), math.exp(0.5)
    expected = torch.tensor([low, high, low, high]) * 2 / (low + high)
    torch.testing.assert_close(mirror_weights(value, 2.0), expected)
    torch.testing.assert_close(mirror_weights(100 * value - 7, 2.0), expected)


def test_values_equal_up_to_rounding_have_equal_weights() -> None:
    for value in (torch.zeros(5), torch.full((5,), 1e4), 1e4 + torch.linspace(-1e-3, 1e-3, 5)):
        torch.testing.assert_close(mirror_weights(value, 1.0), torch.ones(5), atol=2e-3, rtol=0)


def test_an_outlier_is_limited_to_three_deviations() -> None:
    value = torch.zeros(101)
    value[0] = 1e6
    weights = mirror_weights(value, 1.0)
    assert float(weights[0] / weights[1]) == pytest.approx(math.exp(3.1), rel=0.01)  # the others are at -0.1


def test_with_equally_good_actions_the_loss_is_plain_cloning() -> None:
    made, generator = actor(target_samples=4), torch.Generator()
    rows = batch(16, 1, generator.manual_seed(0))
    made.value(rows.following, Bowl(0.0), generator.manual_seed(1))
    assert made._drawn is not None
    _, action = made._drawn
    generator.manual_seed(2)
    with torch.no_grad():
        plain = epsilon_loss(made.denoiser, torch.tensor(made.levels.alpha_bar), rows.following, action, generator)
    found = made.improve(rows, Bowl(0.0), generator.manual_seed(2))["regression"]
    torch.testing.assert_close(found, plain)


def test_an_update_samples_once_and_does_not_use_a_draw_for_other_states(monkeypatch: pytest.MonkeyPatch) -> None:
    made, generator, bowl = actor(target_samples=2), torch.Generator().manual_seed(0), Bowl(1.0)
    rows, other = batch(8, 1, generator), batch(5, 1, generator)
    sampled, plain = [], DpmdActor.propose

    def counted(self: DpmdActor, observation: Tensor, *arguments: Any) -> Tensor:
        sampled.append(len(observation))
        return plain(self, observation, *arguments)

    monkeypatch.setattr(DpmdActor, "propose", counted)
    made.value(rows.following, bowl, generator)
    made.improve(rows, bowl, generator)
    assert sampled == [8]
    made.value(other.following, bowl, generator)
    made.improve(rows, bowl, generator)
    assert sampled == [8, 5, 8]


def test_the_target_is_one_sample_or_the_best_of_several_with_noise() -> None:
    observation, generator, bowl = torch.randn(50, OBSERVATION), torch.Generator(), Bowl(1.0)
    one, several = actor(target_samples=1, noise=1e-6), actor(target_samples=16, noise=1e-6)
    sample = one.propose(observation, 1, generator.manual_seed(0))[:, 0]
    target = one.value(observation, bowl, generator.manual_seed(0))
    torch.testing.assert_close(target, -sample.square().sum(-1), atol=1e-4, rtol=0)
    assert float(several.value(observation, bowl, generator).mean()) > float(target.mean())
    noisy = actor(target_samples=1, noise=0.02, temperature=5.0)
    noisy.value(observation, bowl, generator.manual_seed(0))
    assert noisy._drawn is not None
    inside = sample.abs() < 0.6
    assert int(inside.sum()) > 10
    assert float((noisy._drawn[1] - sample)[inside].std()) == pytest.approx(0.1, rel=0.5)


@pytest.mark.parametrize("start", [5.0, 0.2])
def test_the_temperature_converges_to_the_entropy_target(start: float) -> None:
    made = actor(temperature=start, temperature_lr=0.05, target_samples=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        info = made.improve(batch(4, 1, generator), Bowl(1.0), generator)
    rest = 10 * math.exp(-0.9 - 0.5 * math.log(2 * math.pi * math.e))
    assert rest == pytest.approx(0.984, abs=1e-3)
    assert float(info["temperature"]) == pytest.approx(rest, rel=0.1)


@pytest.mark.parametrize("target_samples", mostly_thorough([8, 1]))
def test_on_a_bowl_dpmds_policy_moves_to_the_best_action(target_samples: int) -> None:
    made = actor(target_samples=target_samples, temperature=0.5, noise=0.1, temperature_lr=0.0, actor_lr=3e-3)
    generator, bowl = torch.Generator().manual_seed(1), Bowl(1.0, best=0.5)
    for _ in range(300):
        made.improve(batch(64, 1, generator), bowl, generator)
    found = made.propose(torch.randn(200, OBSERVATION, generator=generator), 4, generator)
    assert float((found - 0.5).square().mean()) < 0.03


def test_the_slow_copy_acts_and_is_deployed() -> None:
    made, generator = actor(choices=4, noise=1e-6), torch.Generator()
    with torch.no_grad():
        made.denoiser.last.bias.add_(9)
    assert made.deployed is made.slow
    observation, bowl = torch.randn(6, OBSERVATION), Bowl(1.0)
    noise = torch.randn(6, 4 * 8 + 1, 1, generator=generator.manual_seed(0))
    tried = made.act(observation, bowl, noise)
    proposed = made.denoise(observation, noise[:, :-1].view(6, 4, 8, 1), made.slow)
    best = made.choose(observation, proposed, bowl)
    torch.testing.assert_close(tried, best, atol=1e-4, rtol=0)
