"""FPO's actor: losses of the kept draws, ratio, gradient, and a bandit."""

from functools import partial

import pytest
import torch
from torch import Tensor

from odeploy_train.flow_rl.actor import Sampling
from odeploy_train.flow_rl.fpo import LOSS_LIMIT, Draws, FpoActor, fpo, fpo_plus_plus
from odeploy_train.modules.flow_matching import flow_matching_loss, straight_path
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.ode import EULER, solver, uniform_grid
from odeploy_train.on_policy.rollout import Rows

O, D = 5, 2  # noqa: E741
GRID = uniform_grid(10)
DRAWS = Draws()


def flow_actor(draws: Draws = DRAWS, *, name: str = "euler", output_scale: float = 1.0) -> FpoActor:
    """Return an actor with large weights, so that the flow is curved."""
    sampling = Sampling(solver(name), GRID, output_scale=output_scale)
    actor = FpoActor(VelocityNet(O, D, 16, 3), sampling, draws, fpo)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return actor


def rows(actor: FpoActor, count: int = 12) -> Rows:
    """Return rows as PPO makes them from a rollout of the actor."""
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(count, O, generator=generator)
    with torch.no_grad():
        action = actor.act(observation, generator)
        remembered = actor.remember(observation, action, generator)
    advantage = torch.randn(count, generator=generator)
    return Rows(observation, action, advantage, advantage, advantage, remembered)


@pytest.mark.parametrize("supervised", ["u", "eps"])
@pytest.mark.parametrize(("reduction", "divisor"), [("mean", D), ("root", D**0.5)])
def test_losses_are_the_flow_matching_losses_of_the_kept_draws(
    supervised: str, reduction: str, divisor: float
) -> None:
    draws = Draws(4, supervised, reduction, None, 0.1)  # type: ignore[arg-type]
    actor = flow_actor(draws, output_scale=0.5)
    made = rows(actor)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        kept = actor.remember(made.observation, made.action, generator)
    generator.manual_seed(2)
    noise, t = torch.randn(48, D, generator=generator), 0.1 + 0.8 * torch.rand(48, generator=generator)
    x1 = made.action.repeat_interleave(4, dim=0)
    x_t, target = straight_path(noise, x1, t)
    velocity = 0.5 * actor.velocity(made.observation.repeat_interleave(4, dim=0), x_t, t)
    if supervised == "u":
        expected = (velocity - target).square().sum(-1) / divisor
    else:  # the noise that the velocity implies
        expected = (x_t - t[:, None] * velocity - noise).square().sum(-1) / divisor
    torch.testing.assert_close(kept["losses"], expected.view(12, 4), atol=1e-5, rtol=1e-4)


def test_before_the_first_update_the_ratio_is_exactly_1() -> None:
    actor = flow_actor(Draws(8, times=GRID[:-1]))
    made = rows(actor)
    kept = made.remembered
    new = actor.losses(actor.velocities(made.observation, kept["inputs"]), kept)
    assert torch.equal(new, made.remembered["losses"])
    assert torch.equal((made.remembered["losses"].mean(-1) - new.mean(-1)).exp(), torch.ones(12))
    assert actor.objective(made, 0.05)[1]["kl"] == 0


@pytest.mark.parametrize("surrogate", [fpo, fpo_plus_plus])
def test_at_ratio_1_the_gradient_is_the_advantage_weighted_flow_matching_gradient(surrogate: object) -> None:
    actor = flow_actor(Draws(8, "u"))
    actor.surrogate = surrogate  # type: ignore[assignment]
    made = rows(actor)
    assert made.remembered["losses"].max() < LOSS_LIMIT  # above it FPO++ has no gradient
    loss, _ = actor.objective(made, 0.05)
    kept, target = made.remembered["inputs"].flatten(0, 1), made.remembered["target"].flatten(0, 1)
    x_t, embedded = kept[:, :D], kept[:, D:]
    observation = made.observation.repeat_interleave(8, dim=0)
    h = torch.nn.functional.silu(actor.velocity.first(torch.cat([observation, x_t, embedded], dim=-1)))
    for layer in actor.velocity.hidden:
        h = torch.nn.functional.silu(layer(h))
    matching = (actor.velocity.last(h) - target).square().mean(-1).view(12, 8).mean(-1)
    by_formula = (made.advantage * matching).mean()
    parameters = list(actor.parameters())
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(by_formula, parameters), strict=True)
    for ours, formula in pairs:
        torch.testing.assert_close(ours, formula, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("reduction", ["mean", "root"])
def test_with_one_draw_the_same_reduction_and_ppos_clip_fpo_plus_plus_is_fpo(reduction: str) -> None:
    """Tested through the network after an update, with some rows clipped and some not."""
    actor = flow_actor(Draws(1, "u", reduction))  # type: ignore[arg-type]
    made = rows(actor, 64)
    with torch.no_grad():
        actor.velocity.last.bias.add_(0.1)
    found = []
    for surrogate in (fpo, partial(fpo_plus_plus, trust_region="ppo")):
        actor.surrogate = surrogate
        loss, info = actor.objective(made, 0.1)
        assert 0 < info["clipped"] < 1
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(actor.parameters()))])
        found.append((loss, gradient))
    assert found[0][0].item() == pytest.approx(found[1][0].item())
    torch.testing.assert_close(found[0][1], found[1][1])


def test_times_are_drawn_from_the_grid_or_continuously_within_the_margin() -> None:
    generator = torch.Generator().manual_seed(0)
    on_grid = Draws(times=GRID[:-1]).draw_times((1000,), generator)
    assert {round(t, 4) for t in on_grid.tolist()} == {k / 10 for k in range(10)}
    continuous = Draws(margin=0.005).draw_times((10_000,), generator)
    assert 0.005 <= continuous.min() < 0.01
    assert 0.99 < continuous.max() <= 0.995


def test_the_noise_loss_of_a_draw_at_time_0_is_zero() -> None:
    actor = flow_actor(Draws(3, "eps", times=(0.0,)))
    assert (rows(actor).remembered["losses"] == 0).all()


def test_the_solver_of_sampling_does_not_affect_the_losses() -> None:
    coarse, fine = flow_actor(name="euler"), flow_actor(name="rk4")
    fine.velocity.load_state_dict(coarse.velocity.state_dict())
    generator = torch.Generator().manual_seed(2)
    observation, noise = torch.randn(6, O, generator=generator), torch.randn(6, D, generator=generator)
    assert not torch.allclose(coarse.sample(observation, noise), fine.sample(observation, noise), atol=1e-3)
    kept = coarse.remember(observation, noise, torch.Generator().manual_seed(0))
    ours, others = (actor.losses(actor.velocities(observation, kept["inputs"]), kept) for actor in (coarse, fine))
    assert torch.equal(ours, others)


def test_the_brownian_term_is_the_distance_to_the_old_flows_negative_score() -> None:
    """Scores are those of a Gaussian flow: v = (A x_t + b) has x_t - t v as the implied noise."""
    draws = Draws(6, times=GRID[:-1])
    plain, actor = flow_actor(draws, output_scale=0.5), flow_actor(draws, output_scale=0.5)
    actor.brownian = 0.3
    made = rows(actor)
    with torch.no_grad():
        before = actor.velocities(made.observation, made.remembered["inputs"])
        for weight in (*actor.velocity.last.parameters(), *plain.velocity.last.parameters()):
            weight.mul_(1.2)  # only the last layer: the velocity grows as much
    x_t = made.remembered["inputs"][..., :D]
    t = 1 - made.remembered["left"]
    assert {round(each, 4) for each in t.flatten().tolist()} <= {k / 10 for k in range(10)}
    score = (t * before - x_t) / (1 - t)
    expected = ((1 - t) * (1.2 * before + score)).square().sum(-1).mean()
    loss, info = actor.objective(made, 0.05)
    torch.testing.assert_close(info["brownian"], expected)
    torch.testing.assert_close(loss, plain.objective(made, 0.05)[0] + 0.3 * expected)


def test_the_brownian_term_spreads_actions_that_no_reward_distinguishes() -> None:
    """Without an advantage its minimum is the diffusion: the flow's deviation grows above 1."""
    generator = torch.Generator().manual_seed(0)
    actor = FpoActor(VelocityNet(1, 1, 16, 2), Sampling(EULER, GRID), Draws(8, times=GRID[:-1]), fpo, 1.0)
    initialise(actor.velocity, generator)
    torch.nn.init.zeros_(actor.velocity.last.weight)
    torch.nn.init.zeros_(actor.velocity.last.bias)
    observation, none = torch.zeros(512, 1), torch.zeros(512)
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
    for _ in range(3):
        with torch.no_grad():
            action = actor.act(observation, generator)
            kept = actor.remember(observation, action, generator)
        for _ in range(40):
            descend(optimizer, actor.objective(Rows(observation, action, none, none, none, kept), 0.05)[0])
    assert actor.act(torch.zeros(2000, 1), generator).std() > 1.3


@pytest.mark.parametrize("method", ["fpo", "fpo++"])
def test_on_a_bandit_with_two_good_actions_fpo_sharpens_and_keeps_both(method: str) -> None:
    """One state, one action; -1 and 1 are equally good, 0 has no reward.

    The policy starts with wide modes at -0.7 and 0.7. A policy that averages them ends at 0.
    """
    if method == "fpo":
        surrogate, draws, clip, lr = fpo, Draws(8, times=GRID[:-1]), 0.05, 3e-4
    else:
        surrogate, draws, clip, lr = fpo_plus_plus, Draws(8, "u", "root"), 0.2, 7e-4
    generator = torch.Generator().manual_seed(0)
    actor = FpoActor(VelocityNet(1, 1, 64, 3), Sampling(EULER, GRID), draws, surrogate)
    initialise(actor.velocity, generator)
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3, fused=True)
    signs = torch.tensor([-0.7, 0.7]).repeat(128)[:, None]
    for _ in range(700):
        rough = signs + 0.25 * torch.randn(256, 1, generator=generator)
        loss = flow_matching_loss(actor.velocity, torch.zeros(256, 1), rough, generator)
        descend(optimizer, loss)
    observation = torch.zeros(1024, 1)
    optimizer = torch.optim.Adam(actor.parameters(), lr=lr, fused=True)
    before = (actor.act(torch.zeros(2000, 1), generator).abs() - 1).abs().mean()
    for _ in range(8):
        with torch.no_grad():
            action = actor.act(observation, generator)
            kept = actor.remember(observation, action, generator)
        reward = (-((action.abs() - 1) / 0.3).square() / 2).exp().squeeze(-1)
        advantage = (reward - reward.mean()) / reward.std()
        made = Rows(observation, action, advantage, advantage, advantage, kept)
        for _ in range(4):
            for index in torch.randperm(1024, generator=generator).view(4, 256):
                descend(optimizer, actor.objective(made.take(index), clip)[0])
    action = actor.act(torch.zeros(2000, 1), generator)
    assert 0.25 < (action > 0).float().mean() < 0.75
    assert (action.abs() - 1).abs().mean() < 0.7 * before
    assert (action.abs() < 0.3).float().mean() < 0.05


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
