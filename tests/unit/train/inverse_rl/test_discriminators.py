"""Discriminators: scores, losses and rewards against closed forms."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from odeploy_train.inverse_rl.classification import (
    Discriminator,
    RewardForm,
    Transitions,
)
from odeploy_train.inverse_rl.discriminators import Airl, Bottleneck, Gail, Vail, Wail, gradient_penalty
from odeploy_train.inverse_rl.drail import Drail

# Moments of the agent's pairs, and the distance of the expert's mean; actions are well within ±1.
MEAN, STD, SHIFT = torch.tensor([[0.5, -0.5, -0.15], [1.0, 1.0, 0.25], [-1.0, 0.0, 0.25]])
O, A = 2, 1  # noqa: E741


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transitions(pair: Tensor, ended: Tensor | None = None) -> Transitions:
    """Return rows [s, a] whose next observation equals the observation."""
    return Transitions(pair[:, :O], pair[:, O:], pair[:, :O], torch.zeros(len(pair)) if ended is None else ended)


def gaussian(rows: int, mean: Tensor, draws: torch.Generator) -> Tensor:
    drawn: Tensor = mean + STD * torch.randn(rows, O + A, generator=draws)
    return drawn


def fit(module: Discriminator, batches: int = 250, lr: float = 1e-2) -> None:
    """Fit to two Gaussians: the expert's around MEAN + SHIFT, the agent's around MEAN."""
    assert isinstance(module, nn.Module)
    optimizer, draws = torch.optim.Adam(module.parameters(), lr=lr), generator(7)
    for i in range(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - i / batches)
        expert, agent = gaussian(256, MEAN + SHIFT, draws), gaussian(256, MEAN, draws)
        loss, _ = module.loss(transitions(expert), transitions(agent), draws)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def log_ratio(pair: Tensor) -> Tensor:
    """Return log N(x; MEAN + SHIFT, STD²) - log N(x; MEAN, STD²)."""
    return log_density(pair - MEAN - SHIFT) - log_density(pair - MEAN)


def log_density(off: Tensor) -> Tensor:
    """Return log N(off; 0, STD²), up to a constant."""
    value: Tensor = -(off / STD).square().sum(-1) / 2
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gail(O, A, (32,), "logit", generator()),
        lambda: Vail(O, A, (32,), Bottleneck(4, 50.0, 1e-5), "logit", generator()),
        lambda: Airl(O, A, (32,), False, 1.0, lambda s, a: torch.zeros(len(a)), generator()),
    ],
    ids=["gail", "vail", "airl"],
)
def test_the_optimal_logit_is_the_log_ratio_of_the_densities(make: Callable[[], Discriminator]) -> None:
    module = make()
    fit(module)
    pair = gaussian(1000, MEAN + SHIFT / 2, generator(1))
    with torch.no_grad():
        found = module.reward(transitions(pair), generator(2))
    expected = log_ratio(pair)
    assert (found - expected).abs().mean() < 0.25  # the ratio spans ± 3
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.98


def test_airls_d_is_the_papers() -> None:
    """D = e^f / (e^f + π), with f and π computed here; actions beyond ±1 are used as drawn."""

    def of_agent(observation: Tensor, action: Tensor) -> Tensor:
        return log_density(torch.cat([observation, action], dim=-1) - MEAN)

    module = Airl(O, A, (16,), False, 0.9, of_agent, generator())
    expert, agent = MEAN + torch.randn(2, 60, O + A, generator=generator())
    assert agent[:, O:].abs().max() > 1

    def d_and_rest(pair: Tensor) -> tuple[Tensor, Tensor]:
        g, h = module.g(pair).squeeze(-1), module.h(pair[:, :O]).squeeze(-1)
        exp_f, density = (g + 0.9 * h - h).double().exp(), of_agent(pair[:, :O], pair[:, O:]).double().exp()
        return exp_f / (exp_f + density), density / (exp_f + density)

    loss, _ = module.loss(transitions(expert), transitions(agent), generator())
    expected = -d_and_rest(expert)[0].log().mean() - d_and_rest(agent)[1].log().mean()
    torch.testing.assert_close(loss.double(), expected, atol=1e-4, rtol=1e-4)
    d, rest = d_and_rest(agent)
    reward = module.reward(transitions(agent), generator())
    torch.testing.assert_close(reward.double(), d.log() - rest.log(), atol=1e-4, rtol=1e-4)


def test_wails_critic_rises_from_agent_to_expert_with_slope_1() -> None:
    """For two Gaussians separated by SHIFT the best 1-Lipschitz critic is x · SHIFT / ‖SHIFT‖."""
    module = Wail(O, A, (32,), 10.0, generator())
    fit(module)
    step = 0.5 * SHIFT / SHIFT.norm()
    x = gaussian(200, MEAN + SHIFT / 2, generator(1))
    with torch.no_grad():
        rise = module.reward(transitions(x + step), generator()) - module.reward(transitions(x), generator())
    assert rise.mean().item() == pytest.approx(0.5, abs=0.1)
    expert, agent = (transitions(gaussian(2000, m, generator(3))) for m in (MEAN + SHIFT, MEAN))
    _, info = module.loss(expert, agent, generator())
    assert info["distance"].item() == pytest.approx(SHIFT.norm().item(), rel=0.2)
    assert info["accuracy"].item() == pytest.approx(0.705, abs=0.03)  # Φ(‖SHIFT‖ / 2 / 0.956)


def test_drail_ranks_the_expert_above_the_agent() -> None:
    module = Drail(O, A, 32, 2, 100, 2, "logit", generator())
    fit(module, 150)
    x = gaussian(500, MEAN + SHIFT / 2, generator(1))
    with torch.no_grad():
        reward = torch.stack([module.reward(transitions(x), generator(i)) for i in range(30)]).mean(0)
    assert torch.corrcoef(torch.stack([reward, log_ratio(x)]))[0, 1] > 0.8


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_the_gradient_penalty_of_a_linear_critic_is_that_of_its_slope(slope: float) -> None:
    critic = nn.Linear(4, 1)
    nn.init.constant_(critic.weight, slope / 2)  # ‖w‖ = slope
    penalty = gradient_penalty(critic, torch.randn(8, 4), torch.randn(8, 4), generator())
    assert penalty.item() == pytest.approx((slope - 1) ** 2, abs=1e-6)
    if slope > 1:
        (gradient,) = torch.autograd.grad(penalty, critic.weight)
        assert (gradient > 0).all()  # descent reduces the slope


def test_the_penalty_is_computed_between_the_two_sides() -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.square().sum(-1, keepdim=True)

    gradient_penalty(Watched(), torch.ones(500, 2), torch.zeros(500, 2), generator())
    (x,) = seen
    torch.testing.assert_close(x[:, 0], x[:, 1])
    assert 0 <= x.min() < 0.02
    assert 0.98 < x.max() <= 1


def test_airls_potentials_cancel_along_an_episode() -> None:
    module = Airl(O, A, (16,), True, 0.9, lambda s, a: torch.zeros(len(a)), generator())
    states, actions = torch.randn(6, O), torch.randn(5, A)
    ended = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    with torch.no_grad():
        f = module.f(Transitions(states[:-1], actions, states[1:], ended))
        g, h = module.g(states[:-1]).squeeze(-1), module.h(states[:1]).squeeze()
    discounts = 0.9 ** torch.arange(5)
    torch.testing.assert_close((discounts * f).sum(), (discounts * g).sum() - h)


def test_a_state_only_reward_does_not_depend_on_the_action() -> None:
    t = transitions(torch.randn(4, O + A))
    other = Transitions(t.observation, t.action + 1, t.following, t.ended)

    def f(state_only: bool) -> Callable[[Transitions], Tensor]:
        return Airl(O, A, (16,), state_only, 0.9, lambda s, a: torch.zeros(len(a)), generator()).f

    assert torch.equal(f(True)(t), f(True)(other))
    assert not torch.allclose(f(False)(t), f(False)(other))


def test_airl_learns_nothing_from_ticks_without_a_successor() -> None:
    module = Airl(O, A, (16,), False, 0.9, lambda s, a: torch.zeros(len(a)), generator())
    x = torch.randn(6, O + A)
    ended = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    keep = ended == 0
    half, _ = module.loss(transitions(x, ended), transitions(x, ended), generator())
    alone, _ = module.loss(transitions(x[keep]), transitions(x[keep]), generator())
    torch.testing.assert_close(half, alone)
    none, info = module.loss(transitions(x, torch.ones(6)), transitions(x, torch.ones(6)), generator())
    assert none.item() == info["accuracy"].item() == 0


def test_vails_beta_brings_the_information_to_its_target() -> None:
    module = Vail(O, A, (32,), Bottleneck(4, 0.1, 0.1), "logit", generator())
    fit(module, 300)
    expert, agent = (transitions(gaussian(2000, m, generator(3))) for m in (MEAN + SHIFT, MEAN))
    _, info = module.loss(expert, agent, generator())
    assert info["beta"] > 0.01
    assert info["information"].item() == pytest.approx(0.1, abs=0.04)


def test_vails_beta_takes_the_formulas_dual_step_and_stays_at_or_above_0() -> None:
    x = transitions(torch.randn(64, O + A))
    module = Vail(O, A, (8,), Bottleneck(4, 0.0, 0.5), "logit", generator())
    with torch.no_grad():
        mean, log_variance = module.encoder(x.pair).chunk(2, dim=-1)
    code = torch.distributions.Normal(mean, (log_variance / 2).exp())
    unit = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
    information = torch.distributions.kl_divergence(code, unit).sum(-1).mean()
    _, info = module.loss(x, x, generator())
    torch.testing.assert_close(info["information"], information)
    torch.testing.assert_close(module.beta, 0.5 * information)
    module.bottleneck = Bottleneck(4, 1e6, 0.5)
    module.loss(x, x, generator())
    assert module.beta == 0


@pytest.mark.parametrize("form", ["logit", "positive", "negative"])
@pytest.mark.parametrize("off", [-0.5, 0.0, 2.0])
def test_drails_d_matches_known_losses(off: float, form: RewardForm) -> None:
    """The denoiser returns `off` under the expert's label and 0 under the agent's."""
    module = Drail(O, A, 8, 1, 50, 3, form, generator())

    class Known(nn.Module):
        def forward(self, label: Tensor, x: Tensor, t: Tensor) -> Tensor:
            assert ((t >= 0) & (t < 1)).all()
            return off * label.expand_as(x)

    module.denoiser = Known()  # type: ignore[assignment]
    x = torch.randn(40, O + A)
    same = generator(5)
    torch.randint(1, 51, (120,), generator=same)
    epsilon = torch.randn(120, O + A, generator=same)
    loss_1 = (off - epsilon).square().mean(-1).view(3, 40).mean(0)
    loss_0 = epsilon.square().mean(-1).view(3, 40).mean(0)
    for found, expected in zip(module.losses(x, generator(5)), (loss_1, loss_0), strict=True):
        torch.testing.assert_close(found, expected)
    d = (-loss_1).exp() / ((-loss_1).exp() + (-loss_0).exp())
    rewards = {"logit": d.log() - (1 - d).log(), "positive": -(1 - d).log(), "negative": d.log()}
    torch.testing.assert_close(module.reward(transitions(x), generator(5)), rewards[form], atol=1e-5, rtol=1e-5)


def test_more_draws_reduce_the_noise_of_drails_reward() -> None:
    x = transitions(torch.randn(200, O + A))

    def spread(draws: int) -> float:
        module = Drail(O, A, 16, 2, 100, draws, "logit", generator())
        with torch.no_grad():
            return float(torch.stack([module.reward(x, generator(i)) for i in range(40)]).std(0).mean())

    assert spread(16) == pytest.approx(spread(1) / 4, rel=0.15)
