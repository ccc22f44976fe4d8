"""FM-PPO: ratio of densities, gradient, probes, and a bandit."""

import pytest
import torch

from odeploy_train.flow_rl.actor import Sampling
from odeploy_train.flow_rl.fm_ppo import FmPpoActor
from odeploy_train.flow_rl.log_density import log_density
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.on_policy.rollout import Rows
from tests.bandit import practise

O, D = 4, 2  # noqa: E741


def fm_ppo_actor(probes: int | None = 1, squash: bool = True) -> FmPpoActor:
    actor = FmPpoActor(VelocityNet(O, D, 16, 3), Sampling(EULER, uniform_grid(8), squash), probes)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.0 / weight.shape[-1] ** 0.5, generator=generator)
    return actor


def rows(actor: FmPpoActor, count: int = 12) -> Rows:
    """Return rows as PPO makes them from a rollout of the actor."""
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(count, O, generator=generator)
    with torch.no_grad():
        action = actor.act(observation, generator)
        remembered = actor.remember(observation, action, generator)
    advantage = torch.randn(count, generator=generator)
    return Rows(observation, action, advantage, advantage, advantage, remembered)


@pytest.mark.parametrize("probes", [1, 3, None])
def test_before_the_first_update_the_ratio_is_exactly_1(probes: int | None) -> None:
    actor = fm_ppo_actor(probes)
    made = rows(actor)
    loss, info = actor.objective(made, 0.2)
    assert info["kl"] == 0
    assert info["clipped"] == 0
    assert loss.item() == pytest.approx(-made.advantage.mean().item(), rel=1e-5)


def test_at_ratio_1_the_gradient_is_the_policy_gradient() -> None:
    actor = fm_ppo_actor()
    made = rows(actor)
    loss, _ = actor.objective(made, 0.2)
    kept = made.remembered
    by_formula = -(made.advantage * log_density(actor, made.observation, kept["x1"], kept["probes"])).mean()
    parameters = list(actor.parameters())
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(by_formula, parameters), strict=True)
    for ours, formula in pairs:
        torch.testing.assert_close(ours, formula, atol=1e-5, rtol=1e-4)


def test_the_ratio_is_that_of_the_densities_after_an_update() -> None:
    actor = fm_ppo_actor(None)
    made = rows(actor)
    with torch.no_grad():
        actor.velocity.last.bias.add_(0.05)
    kept = made.remembered
    change = log_density(actor, made.observation, kept["x1"], kept["probes"]) - kept["log_density"]
    loss, _ = actor.objective(made, 1e9)
    assert loss.item() == pytest.approx(-(change.exp() * made.advantage).mean().item(), rel=1e-4)
    assert change.abs().max() > 0.01


def test_probes_are_signs_and_stay_with_their_action() -> None:
    made = rows(fm_ppo_actor())
    assert made.remembered["probes"].shape == (12, 1, D)
    assert (made.remembered["probes"].abs() == 1).all()
    assert torch.equal(made.take(torch.tensor([3, 1])).remembered["probes"][0], made.remembered["probes"][3])


@pytest.mark.parametrize("change", [-1e4, 1e4])
def test_very_different_densities_give_finite_figures_and_gradients(change: float) -> None:
    actor = fm_ppo_actor()
    made = rows(actor)
    made.remembered["log_density"].sub_(change)
    loss, info = actor.objective(made, 0.2)
    assert loss.isfinite()
    assert all(bool(figure.isfinite()) for figure in info.values())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, list(actor.parameters())))


@pytest.mark.parametrize("probes", [1, None], ids=["probe", "exact"])
def test_on_a_bandit_fm_ppo_finds_a_good_action(probes: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    actor = FmPpoActor(VelocityNet(1, D, 32, 2), Sampling(EULER, uniform_grid(4)), probes)
    initialise(actor.velocity, generator)
    assert practise(actor, 8, 0.2, 3e-3, generator) < 0.3
