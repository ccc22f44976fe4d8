"""QVPO: weights by hand, entropy through uniform actions, and a bowl."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_train.diffusion_rl import qvpo
from odeploy_train.diffusion_rl.qvpo import Config, QvpoActor, qadv
from odeploy_train.modules.ddpm import cosine
from odeploy_train.modules.networks import VelocityNet, initialise
from tests.bowl import OBSERVATION, Bowl, batch


def actor(**options: float) -> QvpoActor:
    denoiser = VelocityNet(OBSERVATION, 1, width=32, depth=2)
    initialise(denoiser, torch.Generator().manual_seed(0))
    return QvpoActor(Config("multigoal-2d", Path(), **options), denoiser, cosine(8))  # type: ignore[arg-type]


def test_the_best_action_is_weighted_by_its_advantage_over_the_mean() -> None:
    value = torch.tensor([[1.0, 2.0, 6.0, 3.0], [5.0, 5.0, 5.0, 5.0]])
    assert torch.equal(qadv(value), torch.tensor([[0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(qadv(torch.tensor([[-1.0, -3.0, -1.0, -3.0]])), torch.tensor([[1.0, 0.0, 1.0, 0.0]]))


def test_with_equally_good_actions_the_policy_does_not_change() -> None:
    made, generator = actor(candidates=4), torch.Generator().manual_seed(0)
    before = [p.clone() for p in made.denoiser.parameters()]
    info = made.improve(batch(8, 1, generator), Bowl(0.0), generator)
    assert float(info["weight"]) == float(info["regression"]) == 0
    assert all(torch.equal(old, new) for old, new in zip(before, made.denoiser.parameters(), strict=True))


def test_each_uniform_action_has_omega_times_the_weight_of_the_chosen_actions() -> None:
    made, generator = actor(uniform=3, entropy=0.5), torch.Generator()
    observation, action = torch.randn(5, OBSERVATION), torch.randn(5, 2, 1).clamp(-1, 1)
    weights = torch.rand(5, 2)
    loss = made.weighted(observation, action, weights, generator.manual_seed(2))
    uniform = 2 * torch.rand((5, 3, 1), generator=generator.manual_seed(2)) - 1
    rows = torch.cat([action, uniform], dim=1).view(25, 1)
    each = torch.cat([weights, 0.5 * weights.sum(1, keepdim=True).expand(-1, 3)], dim=1).flatten()
    expected = made.regression(observation.repeat_interleave(5, dim=0), rows, generator, each)
    torch.testing.assert_close(loss, expected)


def trained(made: QvpoActor, updates: int = 250) -> Tensor:
    generator, bowl = torch.Generator().manual_seed(1), Bowl(1.0, best=0.5)
    for _ in range(updates):
        made.improve(batch(32, 1, generator), bowl, generator)
    return made.propose(torch.randn(200, OBSERVATION, generator=generator), 4, generator)


def test_on_a_bowl_qvpos_policy_moves_to_the_best_action_and_entropy_widens_it() -> None:
    options = {"candidates": 16, "actor_lr": 3e-3}
    error = [float((trained(actor(entropy=w, **options)) - 0.5).square().mean()) for w in (0.0, 0.2)]
    assert error[0] < 0.05, "uniform actions have 0.58"
    assert error[1] > 2 * error[0], "with ω = 0.2 two thirds of the weight are uniform"


def test_the_target_is_the_best_of_the_slow_copys_samples() -> None:
    made, generator = actor(target_samples=6), torch.Generator()
    with torch.no_grad():
        made.denoiser.last.bias.add_(9)
    observation, bowl = torch.randn(7, OBSERVATION), Bowl(1.0)
    target = made.value(observation, bowl, generator.manual_seed(0))
    proposed = made.propose(observation, 6, generator.manual_seed(0), made.slow)
    torch.testing.assert_close(target, -proposed.square().sum(-1).min(dim=1).values)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("chosen", "65", "at least 0 and below 65"),
        ("candidates", "0", "a number above 0"),
        ("entropy", "-1", "at least 0"),
        ("diffusion-steps", "0", "a number above 0"),
    ],
)
def test_an_invalid_number_is_refused_by_its_option(
    option: str, value: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected {expected}"):
        qvpo.main(["--task", "multigoal-2d", "--out", str(tmp_path), f"--{option}", value])
