"""DIPO: action gradient against closed forms, improved actions in the replay, and a bowl."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from odeploy_train.diffusion_rl.dipo import Config, DipoActor
from odeploy_train.modules.ddpm import cosine
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.off_policy.critics import TwinCritics
from tests.bowl import OBSERVATION, Bowl, batch


def actor(**options: Any) -> DipoActor:
    denoiser = VelocityNet(OBSERVATION, 1, width=32, depth=2)
    initialise(denoiser, torch.Generator().manual_seed(0))
    return DipoActor(Config("multigoal-2d", Path(), **options), denoiser, cosine(8))


def test_plain_ascent_on_a_bowl_follows_its_closed_form() -> None:
    """For Q = -h (a - b)²: a_n - b = (1 - 2 h η)^n (a - b)."""
    made = actor(ascent="gradient", action_lr=0.05, action_steps=7)
    action = torch.linspace(-0.9, 0.9, 11)[:, None]
    found = made.ascend(torch.zeros(11, OBSERVATION), action, Bowl(2.0, best=0.4))
    torch.testing.assert_close(found, 0.4 + (1 - 2 * 2.0 * 0.05) ** 7 * (action - 0.4))
    assert not found.requires_grad


def test_adams_first_step_has_the_size_of_its_rate_for_any_slope() -> None:
    made = actor(action_steps=1, action_lr=0.03)
    action = torch.tensor([[-0.8], [0.9], [0.41]])
    found = made.ascend(torch.zeros(3, OBSERVATION), action, Bowl(50.0, best=0.4))
    torch.testing.assert_close(found, action + 0.03 * torch.tensor([[1.0], [-1.0], [-1.0]]), atol=1e-5, rtol=0)


def test_actions_ascend_up_to_their_limits() -> None:
    made = actor(action_steps=40, action_lr=0.05)
    found = made.ascend(torch.zeros(2, OBSERVATION), torch.tensor([[0.0], [0.9]]), Bowl(1.0, best=3.0))
    assert torch.equal(found, torch.ones(2, 1))


def test_critics_get_no_gradient_from_the_ascent() -> None:
    made, critics = actor(), TwinCritics(OBSERVATION, 1, (8,))
    made.ascend(torch.randn(4, OBSERVATION), torch.zeros(4, 1), critics)
    assert all(p.grad is None for p in critics.parameters())


def test_a_batch_keeps_its_improved_actions_and_continues_from_them() -> None:
    made, generator, bowl = actor(action_steps=3), torch.Generator().manual_seed(0), Bowl(1.0, best=0.4)
    rows = batch(16, 1, generator)
    assert rows.improved is not None
    taken = rows.action.clone()
    first = made.ascend(rows.observation, rows.improved, bowl)
    made.improve(rows, bowl, generator)
    assert torch.equal(rows.improved, first)
    made.improve(rows, bowl, generator)
    assert torch.equal(rows.improved, made.ascend(rows.observation, first, bowl))
    assert torch.equal(rows.action, taken)


def test_on_a_bowl_dipos_policy_moves_to_the_best_action() -> None:
    made, generator = actor(actor_lr=3e-3, action_steps=3), torch.Generator().manual_seed(1)
    rows, bowl = batch(64, 1, generator), Bowl(1.0, best=0.5)
    for _ in range(250):
        made.improve(replace(rows), bowl, generator)
    found = made.propose(rows.observation, 4, generator)
    assert float((found - 0.5).square().mean()) < 0.02


def test_the_target_is_one_sample_of_the_slow_copy() -> None:
    made, generator = actor(), torch.Generator()
    with torch.no_grad():
        made.denoiser.last.bias.add_(9)
    observation = torch.randn(7, OBSERVATION)
    target = made.value(observation, Bowl(1.0), generator.manual_seed(0))
    sample = made.propose(observation, 1, generator.manual_seed(0), made.slow)[:, 0]
    torch.testing.assert_close(target, -sample.square().sum(-1))
