"""The common part of the three diffusion actors: proposals, the best one, regression, the slow copy."""

import copy

import pytest
import torch

from odeploy_train.diffusion_rl.dipo import Config, DipoActor
from odeploy_train.modules.ddpm import cosine
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.policies.diffusion import DiffusionConfig, DiffusionPolicy
from tests.bowl import OBSERVATION, Bowl


def actor(D: int = 2, **options: float) -> DipoActor:
    """Return DIPO's actor, which does not change proposals and regression."""
    denoiser = VelocityNet(OBSERVATION, D, width=16, depth=2)
    initialise(denoiser, torch.Generator().manual_seed(0))
    return DipoActor(Config("multigoal-2d", out=None, **options), denoiser, cosine(6))  # type: ignore[arg-type]


def test_a_proposal_is_the_deployed_policys_action_for_the_same_noise() -> None:
    made, observation = actor(), torch.randn(5, OBSERVATION)
    proposed = made.propose(observation, 3, torch.Generator().manual_seed(1))
    policy = DiffusionPolicy(DiffusionConfig(OBSERVATION, 2, 16, 2, steps=6))
    policy.denoiser.load_state_dict(made.denoiser.state_dict())
    policy.low, policy.high = -torch.ones(2), torch.ones(2)
    noise = torch.randn(15, 6, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer = policy.sample(observation.repeat_interleave(3, dim=0), noise, policy.levels.t_grid(6))
    torch.testing.assert_close(proposed.flatten(0, 1), answer)
    assert float(proposed.abs().max()) <= 1


def test_the_best_proposal_is_that_of_the_highest_value() -> None:
    made, observation, generator = actor(1), torch.randn(20, OBSERVATION), torch.Generator()
    best = made.best(observation, 8, Bowl(1.0, best=0.3), generator.manual_seed(0))
    proposed = made.propose(observation, 8, generator.manual_seed(0))
    nearest = (proposed[..., 0] - 0.3).abs().argmin(dim=1)
    assert torch.equal(best, proposed[torch.arange(20), nearest])


def test_proposals_are_constants_and_no_gradient_passes_the_sampler() -> None:
    """The gradient equals that of actions without a computation graph; an action with one is refused."""
    made, generator = actor(), torch.Generator()
    observation = torch.randn(6, OBSERVATION)
    proposed = made.propose(observation, 1, generator.manual_seed(3))[:, 0]
    assert not proposed.requires_grad
    parameters = list(made.denoiser.parameters())
    found, again = (
        torch.autograd.grad(made.regression(observation, action, generator.manual_seed(4)), parameters)
        for action in (proposed, torch.tensor(proposed.tolist()))
    )
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(AssertionError):
        made.regression(observation, proposed.clone().requires_grad_(True), generator)


def test_the_slow_copy_follows_at_its_rate_and_steps_are_bounded() -> None:
    made = actor(target_rate=0.25, gradient_norm=1e-3)
    before = copy.deepcopy(made.slow)
    norm = made.descend(1e3 * made.regression(torch.randn(4, OBSERVATION), torch.zeros(4, 2), torch.Generator()))
    assert float(norm) > 1e-3
    total = torch.stack([p.grad.norm() for p in made.denoiser.parameters() if p.grad is not None]).norm()
    assert float(total) == pytest.approx(1e-3, rel=1e-2)
    for old, slow, weight in zip(
        before.parameters(), made.slow.parameters(), made.denoiser.parameters(), strict=True
    ):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * weight)
