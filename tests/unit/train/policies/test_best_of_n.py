"""Best of N: the flow's candidates, the smaller of two values, the first of equal candidates."""

import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.modules.ode import EULER, HEUN, uniform_grid
from odeploy_train.policies.best_of_n import BestOfN, BestOfNConfig
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.runs.folder import load_policy, read_card
from tests.best_of_n import best_of_n, run_folder

GRID = uniform_grid(3)


def inputs(policy: BestOfN, rows: int = 5, candidates: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    D = policy.config.flow.chunk_size
    return torch.randn(rows, 11, generator=generator), torch.randn(rows, candidates, D, generator=generator)


def test_candidates_are_the_flows_samples_of_each_draw() -> None:
    policy = best_of_n(HOPPER)
    observation, noise = inputs(policy)
    actions, values = policy.propose(observation, noise, HEUN, GRID)
    for i in range(noise.shape[1]):
        torch.testing.assert_close(actions[:, i], policy.flow.sample(observation, noise[:, i], HEUN, GRID))
        torch.testing.assert_close(values[:, i], policy.value(observation, actions[:, i]))


def test_a_value_is_the_smaller_of_two_critics_of_normalised_observation_and_unit_action() -> None:
    policy = BestOfN(BestOfNConfig(FlowConfig(1, 1, width=4, depth=1, clip=2.0), (2,), "Tanh"))
    policy.fit(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [10.0]]), (Signal("a", "N", -10.0, 30.0),))
    for critic, slope in zip(policy.critics, (1.0, -3.0), strict=True):
        for layer, weight in ((critic[0], [[0.1, 0.0], [0.0, 0.1]]), (critic[2], [[slope, slope]])):  # type: ignore[index]
            layer.weight.data = torch.tensor(weight)
            torch.nn.init.zeros_(layer.bias)
    value = policy.value(torch.tensor([[3.0], [-90.0]]), torch.tensor([[20.0], [10.0]]))
    # Unit observations 1 and -2 (clipped), unit actions 0.5 and 0.
    first, second = torch.tanh(torch.tensor(0.1)) + torch.tanh(torch.tensor(0.05)), torch.tanh(torch.tensor(-0.2))
    torch.testing.assert_close(value, torch.stack([-3 * first, second]))


def test_the_action_is_the_candidate_of_the_highest_value() -> None:
    policy = best_of_n(HOPPER)
    observation, noise = inputs(policy, rows=50, candidates=8)
    actions, values = policy.propose(observation, noise, EULER, GRID)
    choice = policy.sample(observation, noise, EULER, GRID)
    for row in range(50):
        i = int(choice.index[row])
        assert (values[row, i] >= values[row]).all()
        assert torch.equal(choice.action[row], actions[row, i])
        assert choice.value[row] == values[row, i]
    assert len(set(choice.index.tolist())) > 4


def test_the_first_of_equal_candidates_is_taken() -> None:
    policy = best_of_n(HOPPER)
    observation, noise = inputs(policy)
    same = noise[:, :1].expand_as(noise)
    assert policy.sample(observation, same, EULER, GRID).index.tolist() == [0] * 5


def test_an_action_without_a_limit_has_no_unit_scale() -> None:
    policy = BestOfN(BestOfNConfig(FlowConfig(1, 1)))
    with pytest.raises(ContractError, match="best of N, action a: expected a lower and an upper limit"):
        policy.fit(torch.ones(2, 1), torch.ones(2, 1), (Signal("a", "N", low=0.0),))


def test_the_policy_is_loaded_from_its_run_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy, folder = best_of_n(HOPPER, horizon=2, clip=3.0, squash=True), tmp_path_factory.mktemp("run") / "r"
    loaded, card = load_policy(run_folder(folder, HOPPER, policy))
    assert isinstance(loaded, BestOfN)
    assert (card.kind, loaded.config) == ("best-of-n", policy.config)
    assert read_card(folder) == card
    observation, noise = inputs(policy)
    assert torch.equal(
        loaded.sample(observation, noise, EULER, GRID).action,
        policy.sample(observation, noise, EULER, GRID).action,
    )
