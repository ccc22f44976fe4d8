"""Raw samples: draws of the trained actor, in robot units."""

import shutil
from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_train.figures.raw_samples import one_sample
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.off_policy.sac import SacActor
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.mlp import MlpPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

OBSERVATION = torch.tensor([[0.3, -1.2], [2.0, 0.5]])


def test_sac_samples_its_gaussian_around_the_deployed_mean(multigoal: Path) -> None:
    act, card = one_sample(multigoal / "sac", 0)
    assert card.method == "sac"
    drawn = act(OBSERVATION[:1].expand(20_000, 2)).atanh()
    policy, _ = load_policy(multigoal / "sac")
    assert isinstance(policy, MlpPolicy)
    saved = checkpoint.load(multigoal / "sac")
    assert saved is not None
    actor = SacActor(2, 2, (8,), 0.0)
    actor.load_state_dict(saved["modules"]["actor"])
    with torch.no_grad():
        std = actor.net(policy.normalise(OBSERVATION[:1].double()).float())[0, 2:].exp()
        mean = policy(OBSERVATION[:1].double())[0].atanh().float()
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(dim=0), std, atol=0, rtol=0.05)


def test_fmer_samples_its_flow_with_the_solver_steps_of_training(multigoal: Path) -> None:
    act, _ = one_sample(multigoal / "fmer-24", 5)
    policy, _ = load_policy(multigoal / "fmer-24")
    assert isinstance(policy, BestOfN)
    noise = torch.randn(2, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = policy.flow.sample(OBSERVATION, noise, EULER, uniform_grid(3))
    first = act(OBSERVATION)
    torch.testing.assert_close(first, expected)
    assert not torch.equal(act(OBSERVATION), first), "the noise is fresh each time"


def test_a_diffusion_samples_with_all_its_steps(multigoal: Path) -> None:
    act, _ = one_sample(multigoal / "dipo", 5)
    loaded, _ = load_policy(multigoal / "dipo")
    assert isinstance(loaded, BestOfDiffusion)
    policy = loaded.diffusion
    noise = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = policy.sample(OBSERVATION, noise, policy.levels.t_grid(3))
    torch.testing.assert_close(act(OBSERVATION), expected)


def test_sac_with_a_kept_best_policy_is_refused(multigoal: Path, tmp_path: Path) -> None:
    run = tmp_path / "sac"
    shutil.copytree(multigoal / "sac", run)
    saved = checkpoint.load(run)
    assert saved is not None
    saved["kept"]["policy"] = saved["policy"]
    checkpoint.save(run, saved)
    with pytest.raises(ContractError, match="got one of --keep best"):
        one_sample(run, 0)


def test_a_run_without_raw_samples_is_refused(multigoal: Path) -> None:
    with pytest.raises(ContractError, match=r"ppo: expected a run of fmer, .*, got one of ppo"):
        one_sample(multigoal / "ppo", 0)
