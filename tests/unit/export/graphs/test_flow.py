"""The split form of a flow: it matches the policy for every solver and grid."""

import itertools
from dataclasses import replace

import pytest
import torch

from odeploy_export.graphs.flow import SplitFlow
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import SOLVERS, evaluation_times, integrate, solver, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from tests.chunk_flow import chunk_flow
from tests.policies import flow_policy

GRIDS = {
    "one step": (0.0, 1.0),
    "uniform": uniform_grid(5),
    "uneven": (0.0, 0.1, 0.35, 0.8, 1.0),
    "a hundred steps": uniform_grid(100),
}


@pytest.mark.parametrize(("name", "grid"), list(itertools.product(SOLVERS, GRIDS)))
def test_the_split_form_equals_the_policys_sampler(name: str, grid: str) -> None:
    policy = flow_policy(HOPPER).double()
    graph = SplitFlow(policy, solver(name), GRIDS[grid]).double()
    generator = torch.Generator().manual_seed(3)
    observation = torch.randn(7, 11, generator=generator, dtype=torch.float64)
    noise = torch.randn(7, 1, 1, 3, generator=generator, dtype=torch.float64)
    expected = policy.sample(observation, noise.flatten(1), solver(name), GRIDS[grid])
    # The constants were folded in float64 and stored in float32.
    assert torch.allclose(graph(observation, noise)[:, 0], expected, atol=2e-6)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_chunk_is_integrated_as_a_whole_and_returned_as_a_sequence_of_actions(name: str) -> None:
    policy = chunk_flow(HOPPER, 4).double()
    generator = torch.Generator().manual_seed(3)
    observation = torch.randn(7, 11, generator=generator, dtype=torch.float64)
    noise = torch.randn(7, 1, 1, 12, generator=generator, dtype=torch.float64)
    expected = policy.sample(observation, noise.flatten(1), solver(name), GRIDS["uneven"])
    got = SplitFlow(policy, solver(name), GRIDS["uneven"]).double()(observation, noise)
    assert torch.allclose(got, expected.view(7, 4, 3), atol=2e-6)


@pytest.mark.parametrize("limit", [1.0, 0.4])
def test_clipped_observations_and_squashed_actions_are_in_the_graph(limit: float) -> None:
    """FPO deploys such policies: tanh is applied to the scaled action, with arbitrary limits."""
    plain = flow_policy(HOPPER)
    policy = FlowPolicy(replace(plain.config, clip=2.0, squash=True))
    policy.load_state_dict(plain.state_dict())
    policy.low.fill_(-limit)
    policy.high.fill_(limit)
    policy = policy.double()
    generator = torch.Generator().manual_seed(3)
    observation = 5 * torch.randn(20, 11, generator=generator, dtype=torch.float64)
    noise = torch.randn(20, 1, 1, 3, generator=generator, dtype=torch.float64)
    assert (policy.normalise(observation).abs() == 2).any()
    expected = policy.sample(observation, noise.flatten(1), solver("heun"), uniform_grid(4))
    got = SplitFlow(policy, solver("heun"), uniform_grid(4)).double()(observation, noise)[:, 0]
    assert torch.allclose(got, expected, atol=2e-6)
    assert not torch.allclose(expected, expected.clamp(-0.3, 0.3))


def test_a_grid_that_starts_after_zero_equals_the_policys_sampler() -> None:
    policy = flow_policy(MAZE_MEDIUM).double()
    policy.low.fill_(-torch.inf)
    policy.high.fill_(torch.inf)
    grid = (0.25, 0.5, 1.0)
    noise = torch.randn(4, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    observation = torch.ones(4, 6, dtype=torch.float64)
    expected = policy.sample(observation, noise.flatten(1), solver("heun"), grid)
    got = SplitFlow(policy, solver("heun"), grid).double()(observation, noise)[:, 0]
    assert torch.allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_evaluation_times_are_those_of_the_integration_loop(name: str) -> None:
    seen: list[float] = []

    def field(t: float, x: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    integrate(field, torch.zeros(1, 1), solver(name), GRIDS["uneven"])
    assert evaluation_times(solver(name), GRIDS["uneven"]) == seen


def test_actions_stay_within_the_bounds_for_extreme_inputs() -> None:
    policy = flow_policy(HOPPER)
    graph = SplitFlow(policy, solver("euler"), uniform_grid(3))
    action = graph(torch.full((2, 11), 1e4), torch.full((2, 1, 1, 3), -50.0))
    assert action.abs().max() <= 1
