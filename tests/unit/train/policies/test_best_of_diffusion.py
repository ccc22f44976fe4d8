"""A diffusion policy with critics: it makes the same choice as the actor in training."""

from pathlib import Path

import pytest
import torch

from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.diffusion_rl import qvpo
from odeploy_train.diffusion_rl.qvpo import QvpoActor
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy
from tests.best_of_n import best_of_diffusion, best_of_n, diffusion_run_folder, run_folder


def test_the_best_action_is_the_actors_choice_in_training() -> None:
    policy, N, S = best_of_diffusion(HOPPER, clip=2.0), 5, 6
    actor = QvpoActor(qvpo.Config("hopper", Path()), policy.diffusion.denoiser, policy.diffusion.levels)
    diffusion = policy.diffusion
    diffusion.action_mean, diffusion.action_std = torch.zeros(3), torch.ones(3)  # as in training
    critics = TwinCritics(11, 3, (32, 32))
    critics.both.load_state_dict(policy.critics.state_dict())
    raw = 3 * torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
    expected = actor.best(diffusion.normalise(raw), N, critics, torch.Generator().manual_seed(1))
    noise = torch.randn((7, N, S, 3), generator=torch.Generator().manual_seed(1))
    got = policy.sample(raw, noise, diffusion.levels.t_grid(S))
    torch.testing.assert_close(got.action, expected, atol=1e-5, rtol=0)
    values = critics.smaller(diffusion.normalise(raw), expected)
    torch.testing.assert_close(got.value, values, atol=1e-5, rtol=1e-5)
    assert len(set(got.index.tolist())) > 1


def test_critics_get_actions_on_unit_scale() -> None:
    policy = best_of_diffusion(HOPPER)
    policy.diffusion.low, policy.diffusion.high = torch.full((3,), -0.5), torch.full((3,), 1.5)
    observation, unit = torch.zeros(1, 11), torch.tensor([[-1.0, 0.25, 1.0]])
    seen = torch.cat([policy.diffusion.normalise(observation), unit], dim=1)
    expected = torch.minimum(*(critic(seen)[0, 0] for critic in policy.critics))
    torch.testing.assert_close(policy.value(observation, 0.5 + unit)[0], expected)


@pytest.mark.parametrize("norm", [False, True])
def test_a_runs_critics_are_loaded_with_its_policy(norm: bool, tmp_path: Path) -> None:
    policy = best_of_diffusion(HOPPER, critic_norm=norm)
    loaded, card = load_policy(diffusion_run_folder(tmp_path, HOPPER, policy))
    assert isinstance(loaded, BestOfDiffusion)
    assert (card.method, card.kind) == ("qvpo", "diffusion")
    for name, weight in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


def test_a_run_without_critics_is_loaded_as_a_plain_diffusion_policy(tmp_path: Path) -> None:
    folder = diffusion_run_folder(tmp_path, HOPPER, best_of_diffusion(HOPPER))
    state = checkpoint.load(folder)
    assert state is not None
    del state["modules"]
    checkpoint.save(folder, state)
    assert isinstance(load_policy(folder)[0], DiffusionPolicy)


def test_a_best_of_n_run_is_loaded_as_best_of_n(tmp_path: Path) -> None:
    assert isinstance(load_policy(run_folder(tmp_path, HOPPER, best_of_n(HOPPER)))[0], BestOfN)
