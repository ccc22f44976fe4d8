"""The flow as an actor: it integrates the right way, its losses are those of its draws, and it learns a bandit."""

import copy
import math

import pytest
import torch
from torch import Tensor

from train.flow import flow_matching_loss, straight_path
from train.flow_actor import Draws, FlowActor
from train.fpo import LOSS_LIMIT, fpo, fpo_plus_plus
from train.networks import VelocityNet, initialise
from train.ode import EULER, HEUN, RK4, SOLVERS, integrate, solver, uniform_grid
from train.ppo import Rows

O, D = 5, 2  # noqa: E741
GRID = uniform_grid(10)
DRAWS = Draws()


def flow_actor(
    draws: Draws = DRAWS, *, name: str = "euler", squash: bool = False, output_scale: float = 1.0
) -> FlowActor:
    """Weights of trained size, so that the flow bends."""
    actor = FlowActor(
        VelocityNet(O, D, 16, 3), draws, fpo, solver(name), GRID, squash=squash, output_scale=output_scale
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return actor


def inputs(count: int) -> tuple[Tensor, Tensor]:
    """Observations and noise."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, O, generator=generator), torch.randn(count, D, generator=generator)


def rows(actor: FlowActor, count: int = 12) -> Rows:
    """Rows as PPO makes them of a rollout by the actor."""
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(count, O, generator=generator)
    with torch.no_grad():
        action = actor.act(observation, generator)
        remembered = actor.remember(observation, action, generator)
    advantage = torch.randn(count, generator=generator)
    return Rows(observation, action, advantage, advantage, advantage, remembered)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_split_sampler_is_the_plain_integration_of_the_velocity(name: str) -> None:
    actor = flow_actor(name=name, output_scale=0.3).double()
    observation, noise = (rows.double() for rows in inputs(7))

    def field(t: float, x: Tensor) -> Tensor:
        velocity: Tensor = 0.3 * actor.velocity(observation, x, x.new_full((7,), t))
        return velocity

    before = noise.clone()
    expected = integrate(field, noise, solver(name), GRID)
    torch.testing.assert_close(actor.sample(observation, noise), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(noise, before)


def test_it_integrates_a_known_linear_field_from_noise_at_0_to_the_action_at_1() -> None:
    """dx/dt = A x + b sin(π t / 2): backwards, with a wrong sign, or at the times of the other convention it ends
    elsewhere. One layer is that field exactly, since silu(z) - silu(-z) = z and the embedding has the sine."""
    A, b = torch.tensor([[0.4, -1.1], [0.7, -0.3]]), torch.tensor([1.0, -2.0])
    net = VelocityNet(O, D, width=2 * D, depth=1)
    linear = torch.zeros(D, net.first.in_features)
    linear[:, O : O + D], linear[:, O + D + net.time_features // 2] = A, b
    with torch.no_grad():
        net.first.weight.copy_(torch.cat([linear, -linear]))
        net.last.weight.copy_(torch.cat([torch.eye(D), -torch.eye(D)], dim=1))
        net.first.bias.zero_()
        net.last.bias.zero_()
    actor = FlowActor(net, Draws(), fpo, RK4, GRID)
    noise = torch.tensor([[1.0, 0.0], [-0.5, 2.0]])
    system = torch.zeros(4, 4)  # of (x, sin, cos)
    system[:D, :D], system[:D, 2], system[2, 3], system[3, 2] = A, b, math.pi / 2, -math.pi / 2
    start = torch.cat([noise.T, torch.tensor([[0.0, 0.0], [1.0, 1.0]])])
    expected = (torch.linalg.matrix_exp(system) @ start)[:D].T
    torch.testing.assert_close(actor.sample(torch.zeros(2, O), noise), expected, atol=1e-4, rtol=0)


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
    else:  # the noise from where the velocity says that it came
        expected = (x_t - t[:, None] * velocity - noise).square().sum(-1) / divisor
    torch.testing.assert_close(kept["losses"], expected.view(12, 4), atol=1e-5, rtol=1e-4)


def test_before_the_first_update_the_ratio_is_exactly_1() -> None:
    actor = flow_actor(Draws(8, times=GRID[:-1]))
    made = rows(actor)
    new = actor.losses(made.observation, made.remembered)
    assert torch.equal(new, made.remembered["losses"])
    assert torch.equal((made.remembered["losses"].mean(-1) - new.mean(-1)).exp(), torch.ones(12))
    assert actor.objective(made, 0.05)[1]["kl"] == 0


@pytest.mark.parametrize("surrogate", [fpo, fpo_plus_plus])
def test_at_ratio_1_the_gradient_is_the_advantage_weighted_flow_matching_gradient(surrogate: object) -> None:
    actor = flow_actor(Draws(8, "u"))
    actor.surrogate = surrogate  # type: ignore[assignment]
    made = rows(actor)
    assert made.remembered["losses"].max() < LOSS_LIMIT  # beyond it FPO++ has no gradient
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


def test_draws_of_a_grid_are_of_that_grid_and_continuous_ones_keep_their_margin() -> None:
    generator = torch.Generator().manual_seed(0)
    of_grid = Draws(times=GRID[:-1]).draw_times((1000,), generator)
    assert {round(t, 4) for t in of_grid.tolist()} == {k / 10 for k in range(10)}
    continuous = Draws(margin=0.005).draw_times((10_000,), generator)
    assert 0.005 <= continuous.min() < 0.01
    assert 0.99 < continuous.max() <= 0.995


def test_a_draw_at_noise_carries_no_gradient_of_the_noises_error() -> None:
    actor = flow_actor(Draws(3, "eps", times=(0.0,)))
    assert (rows(actor).remembered["losses"] == 0).all()


@pytest.mark.parametrize("squash", [False, True])
def test_unit_actions_come_back_as_the_flows_end(squash: bool) -> None:
    actor = flow_actor(squash=squash)
    actor.scale, actor.shift = torch.tensor([0.5, 2.0]), torch.tensor([0.1, -0.2])
    x = torch.tensor([[0.3, -0.9], [2.0, 1.5], [-4.0, 0.0]])
    unit = actor.to_unit(x)
    expected = x * actor.scale + actor.shift
    torch.testing.assert_close(unit, expected.tanh() if squash else expected)
    torch.testing.assert_close(actor.to_flow(unit), x, atol=2e-4, rtol=1e-4)


def test_where_tanh_saturates_the_flows_end_stays_finite() -> None:
    actor = flow_actor(squash=True)
    unit = actor.to_unit(torch.tensor([[50.0, -50.0]]))
    assert unit.tolist() == [[1.0, -1.0]]
    x = actor.to_flow(unit)
    assert 7.5 < x[0, 0] < 8.5
    assert x[0, 1] == -x[0, 0]


def test_a_perturbed_action_is_what_is_learnt_from() -> None:
    actor = flow_actor()
    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(4000, O)
    plain = actor.act(observation, generator)
    generator.manual_seed(0)
    actor.perturbation = 0.3
    difference = actor.act(observation, generator) - plain
    assert difference.std().item() == pytest.approx(0.3, rel=0.05)


def test_an_old_policy_may_be_sampled_with_another_solver_than_the_one_it_learns_with() -> None:
    coarse, fine = flow_actor(name="euler"), flow_actor(name="rk4")
    fine.velocity.load_state_dict(coarse.velocity.state_dict())
    observation, noise = inputs(6)
    assert not torch.allclose(coarse.sample(observation, noise), fine.sample(observation, noise), atol=1e-3)
    kept = coarse.remember(observation, noise, torch.Generator().manual_seed(0))
    assert torch.equal(coarse.losses(observation, kept), fine.losses(observation, kept))


@pytest.mark.parametrize("method", ["fpo", "fpo++"])
def test_on_a_bandit_with_two_good_actions_it_sharpens_both_and_keeps_both(method: str) -> None:
    """One state, one action; -1 and 1 are equally good, 0 between them is worthless. The policy begins with rough
    modes at -0.7 and 0.7; one that averaged them would end at 0."""
    if method == "fpo":
        surrogate, draws, clip, lr = fpo, Draws(8, times=GRID[:-1]), 0.05, 3e-4
    else:
        surrogate, draws, clip, lr = fpo_plus_plus, Draws(8, "u", "root"), 0.2, 7e-4
    generator = torch.Generator().manual_seed(0)
    actor = FlowActor(VelocityNet(1, 1, 64, 3), draws, surrogate, EULER, GRID)
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


def test_the_sampler_follows_the_weights() -> None:
    """It reads them where they lie: after a step of the optimizer it answers as a fresh actor with them does."""
    actor = flow_actor(name="heun")
    observation, noise = inputs(3)
    before = actor.sample(observation, noise)
    optimizer = torch.optim.Adam(actor.parameters(), lr=0.1, fused=True)
    loss, _ = actor.objective(rows(actor), 0.2)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    after = actor.sample(observation, noise)
    assert not torch.allclose(before, after)
    fresh = FlowActor(copy.deepcopy(actor.velocity), Draws(), fpo, HEUN, GRID)
    assert torch.equal(after, fresh.sample(observation, noise))
