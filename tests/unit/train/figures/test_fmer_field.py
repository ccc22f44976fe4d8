"""FMER's field: paths, values and goals match the policy."""

from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_train.figures.fmer_field import load, samples_at, snapshot, towards


def test_paths_lead_from_noise_to_the_actions_that_are_sampled(multigoal: Path) -> None:
    found = snapshot(multigoal / "fmer-24", 50, seed=3, side=5)
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(3))
    assert found.paths.shape == (4, 50, 2)
    torch.testing.assert_close(found.paths[0], noise.tanh())
    sampled = samples_at(multigoal / "fmer-24", torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 50, seed=3)
    torch.testing.assert_close(found.paths[-1], sampled[1])
    assert not torch.equal(sampled[0], sampled[1])


def test_the_critics_grid_has_velocity_x_along_its_columns(multigoal: Path) -> None:
    found = snapshot(multigoal / "fmer-24", 1, seed=0, side=5)
    policy, _ = load(multigoal / "fmer-24")
    with torch.no_grad():
        value = policy.value(torch.zeros(1, 2), torch.tensor([[0.5, -1.0]]))
    torch.testing.assert_close(found.value[0, 3], value[0])


def test_an_action_points_to_the_nearest_goals_direction() -> None:
    actions = torch.tensor([[0.2, 0.1], [-0.1, 0.9], [-1.0, -0.9], [0.0, -0.1]])
    assert towards(actions).tolist() == [0, 1, 2, 3]


def test_a_run_of_another_method_is_refused(multigoal: Path) -> None:
    with pytest.raises(ContractError, match=r"expected a run of fmer on multigoal-2d, got one of dipo"):
        snapshot(multigoal / "dipo", 1, seed=0)
