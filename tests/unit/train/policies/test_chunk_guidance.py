"""Guidance: it draws a chunk towards the previous one in proportion to the weight."""

import pytest
import torch
from torch import Tensor

from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, HEUN, uniform_grid
from odeploy_train.policies.chunk_guidance import STRONGEST, guided_sample, strength
from odeploy_train.policies.flow import FlowPolicy
from tests.chunk_flow import chunk_flow

H, A, D = 6, 2, 12
GRID = uniform_grid(10)
GENERATOR = torch.Generator().manual_seed(3)
OBSERVATION, NOISE = torch.randn(5, 6, generator=GENERATOR), torch.randn(5, D, generator=GENERATOR)
PREVIOUS = 0.3 * torch.randn(5, D, generator=GENERATOR)


@pytest.fixture(scope="module")
def policy() -> FlowPolicy:
    made = chunk_flow(MAZE_MEDIUM, H)
    for parameter in made.velocity.parameters():
        parameter.mul_(0.5)  # a smooth field, so that solver steps are accurate
    return made


def distance(policy: FlowPolicy, actions: Tensor) -> Tensor:
    """Return the distance to the previous chunk on unit scale. Shape (B, H)."""
    error: Tensor = torch.linalg.vector_norm(((actions - PREVIOUS) / policy.action_std).view(5, H, A), dim=2)
    return error


@pytest.mark.parametrize("tableau", [EULER, HEUN], ids=lambda t: t.name)
def test_without_weights_guidance_is_the_plain_sampler(policy: FlowPolicy, tableau: object) -> None:
    plain = policy.sample(OBSERVATION, NOISE, tableau, GRID)  # type: ignore[arg-type]
    guided = guided_sample(policy, OBSERVATION, NOISE, PREVIOUS, torch.zeros(5, H), tableau, GRID)  # type: ignore[arg-type]
    torch.testing.assert_close(guided, plain, rtol=0, atol=1e-6)


def test_frozen_actions_are_returned_unchanged_within_the_limits(policy: FlowPolicy) -> None:
    frozen = torch.tensor([1.0, 1.0, 0.5, 0.2, 0.0, 0.0]).expand(5, H)
    far = PREVIOUS.clone()
    far[0, 0] = 7.0
    guided = guided_sample(policy, OBSERVATION, NOISE, far, frozen, EULER, GRID)
    assert torch.equal(guided[:, : 2 * A], far[:, : 2 * A].clamp(-1, 1))


def test_a_larger_weight_brings_the_chunk_closer_to_the_previous_one(policy: FlowPolicy) -> None:
    near = [
        distance(
            policy, guided_sample(policy, OBSERVATION, NOISE, PREVIOUS, torch.full((5, H), w), EULER, GRID)
        ).mean()
        for w in (0.0, 0.1, 0.3, 0.9)
    ]
    assert near == sorted(near, reverse=True)
    assert near[-1] < 0.2 * near[0]


def test_with_a_zero_field_the_guidance_is_the_papers_formula(policy: FlowPolicy) -> None:
    """With v = 0, x̂_1 = x and each Euler step shrinks the distance by 1 - dt · strength · w."""
    still = FlowPolicy(policy.config)
    for parameter in still.velocity.parameters():
        parameter.detach().zero_()
    weight, left = 0.4, 1.0
    for t in GRID[:-1]:
        left *= 1 - 0.1 * strength(t) * weight
    guided = guided_sample(still, OBSERVATION, NOISE, PREVIOUS, torch.full((5, H), weight), EULER, GRID)
    torch.testing.assert_close(guided - PREVIOUS, left * (NOISE - PREVIOUS))


def test_the_strength_is_bounded_at_both_ends_and_symmetric() -> None:
    assert strength(0.0) == strength(1.0) == STRONGEST
    assert strength(0.5) == 2.0
    assert strength(0.3) == pytest.approx(strength(0.7)) == pytest.approx(0.58 / 0.21)
