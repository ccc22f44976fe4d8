"""DPPO: likelihoods of the sampled chains, ratio, gradient, KL divergence, and a bandit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from odeploy_runtime.errors import UsageError
from odeploy_train.flow_rl import dppo
from odeploy_train.flow_rl.actor import Sampling
from odeploy_train.flow_rl.dppo import Chain, Config, DppoActor
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig
from tests.bandit import practise

O, D, K = 4, 2, 5  # noqa: E741
CHAIN = Chain(0.9, 0.1, 0.2)


def dppo_actor(chain: Chain = CHAIN, output_scale: float = 0.5) -> DppoActor:
    """Return an actor with large weights, so that the flow is curved."""
    sampling = Sampling(EULER, uniform_grid(K), squash=True, output_scale=output_scale)
    actor = DppoActor(VelocityNet(O, D, 16, 3), sampling, chain)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return actor


def rows(actor: DppoActor, ticks: int = 3, envs: int = 4) -> Rows:
    """Return rows as PPO makes them from a rollout of the actor."""
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(ticks, envs, O, generator=generator)
    with torch.no_grad():
        action = torch.stack([actor.act(tick, generator) for tick in observation]).flatten(0, 1)
        remembered = actor.remember(observation.flatten(0, 1), action, generator)
    advantage = torch.randn(ticks * envs, generator=generator)
    return Rows(observation.flatten(0, 1), action, advantage, advantage, advantage, remembered)


def by_distributions(actor: DppoActor, made: Rows) -> Tensor:
    """Return log π̄ of each step from the velocity's forward pass. Shape (M, K)."""
    states = torch.cat([made.remembered["inputs"][:, :, :D], made.remembered["next"][:, -1:]], dim=1)
    steps = []
    for k in range(K):
        t = torch.full((len(states),), k / K)
        velocity = actor.sampling.output_scale * actor.velocity(made.observation, states[:, k], t)
        choice = Independent(Normal(states[:, k] + velocity / K, actor.chain.likelihood_std), 1)
        steps.append(choice.log_prob(states[:, k + 1]))  # type: ignore[no-untyped-call]
    return torch.stack(steps, dim=1)


def test_a_chains_log_likelihood_is_that_of_its_gaussian_steps() -> None:
    actor = dppo_actor()
    made = rows(actor)
    with torch.no_grad():
        torch.testing.assert_close(
            made.remembered["log_likelihood"], by_distributions(actor, made), atol=1e-4, rtol=1e-5
        )


def test_the_remembered_chains_end_at_the_actions() -> None:
    actor = dppo_actor()
    made = rows(actor)
    assert torch.equal(actor.to_unit(made.remembered["next"][:, -1]), made.action)
    assert torch.equal(made.remembered["inputs"][:, 1:, :D], made.remembered["next"][:, :-1])


def test_the_noise_of_a_step_has_the_exploration_deviation() -> None:
    """With zero velocity a step moves by its noise alone."""
    actor = dppo_actor(Chain(exploration_std=0.3), output_scale=0.0)
    made = rows(actor, 200, 50)
    moved = made.remembered["next"] - made.remembered["inputs"][..., :D]
    assert moved.std().item() == pytest.approx(0.3, rel=0.01)
    assert made.remembered["inputs"][:, 0, :D].std().item() == pytest.approx(1, rel=0.02)


def test_before_the_first_update_the_ratio_is_exactly_1() -> None:
    actor = dppo_actor()
    made = rows(actor)
    assert torch.equal(actor.log_likelihood(made.observation, made.remembered), made.remembered["log_likelihood"])
    _, info = actor.objective(made, 0.2)
    assert info["kl"] == 0
    assert info["clipped"] == 0


def test_at_ratio_1_the_gradient_is_the_score_weighted_by_the_discounted_advantage() -> None:
    actor = dppo_actor()
    made = rows(actor)
    loss, _ = actor.objective(made, 0.2)
    steps_after = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0])
    weighted = made.advantage[:, None] * 0.9**steps_after * by_distributions(actor, made)
    parameters = list(actor.parameters())
    pairs = zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(-weighted.mean(), parameters), strict=True
    )
    for ours, formula in pairs:
        torch.testing.assert_close(ours, formula, atol=1e-5, rtol=1e-3)


def test_after_an_update_each_step_has_its_own_ratio_and_clip() -> None:
    actor = dppo_actor()
    made = rows(actor)
    with torch.no_grad():
        actor.velocity.last.bias.add_(1.0)
        ratio = (by_distributions(actor, made) - made.remembered["log_likelihood"]).exp()
        advantage = made.advantage[:, None] * 0.9 ** torch.arange(K - 1, -1, -1)
        expected = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    loss, info = actor.objective(made, 0.2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert 0 < info["clipped"] < 1


def test_the_kl_is_that_of_the_whole_chain() -> None:
    """For two chains of Gaussian steps with means δ apart it is K D δ² / (2 σ²), here estimated from rows."""
    actor = dppo_actor(Chain(exploration_std=0.2, likelihood_std=0.2), output_scale=1.0)
    made = rows(actor, 100, 100)
    with torch.no_grad():
        actor.velocity.last.bias.add_(0.1)
        _, info = actor.objective(made, 0.2)
    delta = 0.1 / K
    assert info["kl"].item() == pytest.approx(K * D * delta**2 / (2 * 0.2**2), rel=0.1)


@pytest.mark.parametrize("change", [-1e4, 1e4])
def test_very_different_likelihoods_give_finite_figures_and_gradients(change: float) -> None:
    actor = dppo_actor()
    made = rows(actor)
    made.remembered["log_likelihood"].sub_(change)
    loss, info = actor.objective(made, 0.2)
    assert loss.isfinite()
    assert all(bool(figure.isfinite()) for figure in info.values())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, list(actor.parameters())))


def test_remembering_actions_other_than_the_last_is_an_error() -> None:
    actor, generator = dppo_actor(), torch.Generator().manual_seed(0)
    observation = torch.zeros(3, O)
    first = actor.act(observation, generator)
    actor.act(observation, generator)
    with pytest.raises(ValueError, match="the last actions of act"):
        actor.remember(observation, first, generator)


def test_on_a_bandit_dppo_finds_the_best_action() -> None:
    generator = torch.Generator().manual_seed(0)
    actor = DppoActor(
        VelocityNet(1, D, 32, 2), Sampling(EULER, uniform_grid(4)), Chain(exploration_std=0.2, likelihood_std=0.2)
    )
    initialise(actor.velocity, generator)
    assert practise(actor, 16, 0.2, 3e-3, generator) < 0.3


def test_the_options_configure_the_chain() -> None:
    options = {"denoising_discount": 0.5, "exploration_std": 0.3, "likelihood_std": 0.4}
    made = dppo.actor(Config("hopper", Path("unused"), **options), FlowConfig(11, 3, 16, 2), torch.Generator())  # type: ignore[arg-type]
    assert made.chain == Chain(0.5, 0.3, 0.4)
    assert made.discounts[-2:].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("value", ["0", "1.5"])
def test_an_invalid_discount_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--denoising-discount: expected above 0 and at most 1, got {value}"):
        dppo.main(["--task", "hopper", "--out", str(tmp_path), "--denoising-discount", value])


def test_zero_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--exploration-std: expected a number above 0"):
        dppo.main(["--task", "hopper", "--out", str(tmp_path), "--exploration-std", "0"])
