"""FMER: entropy, weighted regression, and no gradient through the solver."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from odeploy_train.modules.flow_paths import solve
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.off_policy.fmer import FmerActor, Improvement, log_volume
from tests.bowl import OBSERVATION, Bowl, batch


def actor(D: int = 2, target: float = 0.0, width: int = 32, **options: float) -> FmerActor:
    velocity = VelocityNet(OBSERVATION, D, width=width, depth=2)
    initialise(velocity, torch.Generator().manual_seed(0))  # before there is a slow copy of it
    return FmerActor(velocity, Improvement(target, **options))  # type: ignore[arg-type]


class Linear(VelocityNet):
    """v(x) = slope · x, whose flow multiplies noise by exp(slope); written as a network of one silu layer:
    z (σ(z) + σ(-z)) = z = silu(z) - silu(-z)."""

    def __init__(self, D: int, slope: float) -> None:
        super().__init__(OBSERVATION, D, width=2 * D, depth=1)
        eye = torch.eye(D)
        with torch.no_grad():
            self.first.weight.zero_()
            self.first.bias.zero_()
            self.first.weight[:, OBSERVATION : OBSERVATION + D] = torch.cat([eye, -eye])
            self.last.weight.copy_(slope * torch.cat([eye, -eye], dim=1))
            self.last.bias.zero_()


@pytest.mark.parametrize(("slope", "K"), [(-1.0, 200), (0.4, 200), (-2.0, 4)])
def test_entropy_of_a_linear_flow_is_that_of_the_squashed_gaussian_that_its_steps_draw(
    slope: float, K: int
) -> None:
    """K steps multiply noise by (1 + slope / K)^K: 0.06 in the last case, where the flow's e^slope is 0.14."""
    D, rows = 2, 4000
    made = FmerActor(Linear(D, slope), Improvement(0.0, solver_steps=K, entropy_draws=1))
    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(rows, OBSERVATION)
    path = made.propose(observation, 1, generator)
    entropy, _ = made.entropy(observation, path, generator)
    std = (1 + slope / K) ** K
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi) * float(z[1] - z[0])
    squashed = float((density * (1 - (std * z).tanh().square()).log()).sum())
    exact = D * (0.5 * math.log(2 * math.pi * math.e) + math.log(std) + squashed)
    assert float(entropy) == pytest.approx(exact, abs=0.05)


def test_a_singular_step_counts_as_a_strong_contraction_with_a_finite_gradient() -> None:
    step = torch.diag(torch.tensor([1.0, 0.0])).requires_grad_(True)
    volume = log_volume(step[None], 0.03)
    assert float(volume.detach()) == pytest.approx(math.log(0.03), abs=1e-2)
    (gradient,) = torch.autograd.grad(volume.sum(), step)
    assert bool(gradient.isfinite().all())


def test_the_volume_of_a_step_is_its_determinant() -> None:
    step = torch.eye(3) + 0.3 * torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_volume(step, 0.01), torch.linalg.det(step).abs().log(), atol=0.03, rtol=0)


def test_the_entropy_term_has_the_gradient_of_the_entropy() -> None:
    """For v = θ x: H = D (½ log 2πe + θ + E log(1 - tanh²(e^θ z))), differentiated by θ on a fine grid."""
    D, rows, slope = 1, 20_000, -0.5
    velocity = Linear(D, slope)
    made = FmerActor(velocity, Improvement(0.0, solver_steps=100, entropy_draws=1))
    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(rows, OBSERVATION)
    path = made.propose(observation, 1, generator)
    _, lift = made.entropy(observation, path, generator)
    gradient = torch.autograd.grad(lift, velocity.last.weight)[0]
    found = float((gradient * torch.tensor([[1.0, -1.0]])).sum())  # dθ moves both halves of the last layer
    std = math.exp(slope)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi) * float(z[1] - z[0])
    # du_1/dθ = u_1, so that dH/dθ = 1 + E[-2 tanh(u_1) u_1]; the first-order term has ∫ x_t dt in place of u_1.
    first_order = (std - 1) / slope  # ∫ e^{slope t} dt, of x_t = e^{slope t} z
    exact = 1 - float((density * 2 * (std * z).tanh() * first_order * z).sum())
    assert found == pytest.approx(exact, abs=0.05)


def test_without_alpha_the_entropy_target_has_no_effect() -> None:
    one, other = (actor(1, target, alpha=0.0) for target in (-5.0, 1.0))
    for made in (one, other):
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            info = made.improve(batch(16, 1, generator), Bowl(1.0), generator)
        assert float(info["alpha"]) == 0
    for weight, same in zip(one.velocity.parameters(), other.velocity.parameters(), strict=True):
        assert torch.equal(weight, same)
        assert weight.isfinite().all()


def train_to_entropy(made: FmerActor, target: float, updates: int) -> Tensor:
    """Train with equally good actions, require the entropy's target, and return the flow's ends u."""
    generator, flat, met = torch.Generator().manual_seed(1), Bowl(0.0), 0.0
    for i in range(updates):
        info = made.improve(batch(32, 1, generator), flat, generator)
        met += float(info["entropy"]) * 2 / updates * (i >= updates / 2)
    assert abs(met - target) < 0.1
    return made.propose(torch.randn(500, OBSERVATION, generator=generator), 4, generator).end


def test_a_high_entropy_target_is_reached_when_all_actions_are_equal() -> None:
    target = 0.85 * math.log(2)
    made = actor(1, target, width=16, actor_lr=2e-3, alpha_lr=2e-2, entropy_draws=8, solver_steps=5)
    u = train_to_entropy(made, target, updates=500)
    assert float((u.tanh().abs() > 0.99).float().mean()) < 0.05


def test_a_flow_that_starts_too_wide_does_not_diverge() -> None:
    """Without the gradient of the tanh term the standard deviation is 11, and 77 % of |a| exceed 0.99."""
    target = 0.9 * math.log(2)
    improvement = Improvement(target, actor_lr=5e-3, alpha=0.3, alpha_lr=1e-2, entropy_draws=8, solver_steps=5)
    made = FmerActor(Linear(1, slope=1.0), improvement)
    u = train_to_entropy(made, target, updates=300)
    assert float((u.tanh().abs() > 0.99).float().mean()) < 0.05
    assert float(u.std()) < 1.5


def test_on_a_bowl_the_weighted_regression_moves_to_its_lowest_point() -> None:
    made = actor(1, -2.0, width=16, actor_lr=3e-3, alpha=1e-4, solver_steps=5)
    generator, bowl = torch.Generator().manual_seed(1), Bowl(1.0, best=0.5)

    def error() -> float:
        actions = made.propose(torch.zeros(200, OBSERVATION), 4, generator).end.tanh()
        return float((actions - 0.5).square().mean())

    before = error()
    for _ in range(200):
        made.improve(batch(32, 1, generator), bowl, generator)
    assert error() < 0.1 * before


def test_candidates_are_constants_and_no_gradient_passes_the_solver() -> None:
    """The gradient equals that of candidates without a computation graph."""
    made, generator = actor(), torch.Generator()
    observation = torch.randn(6, OBSERVATION)
    path = made.propose(observation, 4, generator.manual_seed(3))
    assert not path.end.requires_grad
    assert path.end.grad_fn is None
    weights = torch.full((6, 4), 0.25)
    loss = made.regression(observation, path.end, weights, generator.manual_seed(4))
    found = torch.autograd.grad(loss, list(made.velocity.parameters()))
    elsewhere = torch.tensor(path.end.tolist())
    again = made.regression(observation, elsewhere, weights, generator.manual_seed(4))
    for one, other in zip(found, torch.autograd.grad(again, list(made.velocity.parameters())), strict=True):
        torch.testing.assert_close(one, other)


def test_regression_is_the_weighted_flow_matching_loss() -> None:
    """Candidates of weight 0 do not count, and equal weights give the plain mean."""
    made, generator = actor(), torch.Generator()
    observation, u = torch.randn(5, OBSERVATION), torch.randn(5, 3, 2)
    alone = torch.tensor([1.0, 0.0, 0.0]).expand(5, -1)
    before = made.regression(observation, u, alone, generator.manual_seed(0))
    changed = torch.cat([u[:, :1], u[:, 1:] + 9], dim=1)
    torch.testing.assert_close(made.regression(observation, changed, alone, generator.manual_seed(0)), before)
    parts = [made.regression(observation, u, w.expand(5, -1), generator.manual_seed(0)) for w in torch.eye(3)]
    whole = made.regression(observation, u, torch.full((5, 3), 1 / 3), generator.manual_seed(0))
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_exploration_takes_the_best_of_the_candidates() -> None:
    made, generator = actor(1, choices=16), torch.Generator()
    observation = torch.randn(20, OBSERVATION)
    noise = torch.randn(20, 16, 1, generator=generator.manual_seed(0))
    tried = made.act(observation, Bowl(1.0, best=0.3), noise)
    candidates = solve(made.velocity, observation, noise, 10).end.tanh()
    nearest = (candidates[..., 0] - 0.3).abs().argmin(dim=1)
    assert torch.equal(tried, candidates[torch.arange(20), nearest])


class TwoWays(Bowl):
    """Q = -(|a| - best)²: both directions are equally good."""

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        return super().forward(observation, action.abs())


def test_with_uniform_candidates_equally_good_modes_become_equally_frequent() -> None:
    """First a tenth of the samples is at u = 1, the rest at -1. Without uniform candidates one mode vanishes."""
    made = actor(1, alpha=0.0, candidates=4, uniform=4, effective_share=0.7, actor_lr=2e-3, solver_steps=5)
    generator = torch.Generator().manual_seed(0)
    observation, even = torch.zeros(64, OBSERVATION), torch.full((64, 8), 1 / 8)
    for _ in range(400):
        u = 2.0 * (torch.rand(64, 8, 1, generator=generator) < 0.1) - 1
        loss = made.regression(observation, u + 0.1 * torch.randn(u.shape, generator=generator), even, generator)
        made.optimizers["velocity"].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        made.optimizers["velocity"].step()

    def actions() -> Tensor:
        return made.propose(torch.zeros(2000, OBSERVATION), 1, generator).end.tanh()

    assert float((actions() > 0).float().mean()) < 0.2
    rows = replace(batch(64, 1, generator), observation=observation)
    for _ in range(200):
        made.improve(rows, TwoWays(1.0, best=0.7), generator)
    assert float((actions() > 0).float().mean()) == pytest.approx(0.5, abs=0.15)
    assert float((actions().abs() - 0.7).abs().mean()) < 0.35


def test_perturbed_candidates_are_the_samples_and_copies_of_each_with_noise() -> None:
    made = actor(2, candidates=3, perturbations=4, spread=0.1, uniform=2)
    samples = torch.randn(500, 3, 2)
    u = made.candidates(samples, torch.Generator().manual_seed(0))
    assert u.shape == (500, 14, 2)
    assert torch.equal(u[:, :3], samples)
    noise = u[:, 3:12].view(500, 3, 3, 2) - samples[:, :, None]
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    assert float(u[:, 12:].tanh().std()) == pytest.approx(1 / math.sqrt(3), rel=0.05)


def weights_of(net: VelocityNet) -> Tensor:
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()


@pytest.mark.parametrize(("renew_every", "slow_rate"), [(3, 1.0), (1, 0.25), (2, 0.5)])
def test_candidates_come_from_a_copy_renewed_at_its_rate(renew_every: int, slow_rate: float) -> None:
    made, generator = actor(1, renew_every=renew_every, slow_rate=slow_rate), torch.Generator().manual_seed(0)
    expected = weights_of(made.velocity)
    for i in range(1, 7):
        made.improve(batch(8, 1, generator), Bowl(1.0), generator)
        if i % renew_every == 0:
            expected = expected + slow_rate * (weights_of(made.velocity) - expected)
        torch.testing.assert_close(weights_of(made.slow), expected)


def test_without_a_slow_copy_the_flow_itself_proposes() -> None:
    made = actor(1)
    assert made.slow is made.velocity


def test_the_target_is_the_value_of_the_best_of_its_choices() -> None:
    one, several, generator = actor(1), actor(1, target_choices=8), torch.Generator()
    observation, bowl = torch.randn(20, OBSERVATION), Bowl(1.0, best=0.3)
    proposed = several.propose(observation, 8, generator.manual_seed(0)).end.tanh()
    best = several.value(observation, bowl, generator.manual_seed(0))
    torch.testing.assert_close(best, -(proposed[..., 0] - 0.3).square().amin(dim=1))
    sample = one.propose(observation, 1, generator.manual_seed(0)).end.tanh()
    torch.testing.assert_close(
        one.value(observation, bowl, generator.manual_seed(0)), -(sample[:, 0, 0] - 0.3).square()
    )


def test_at_its_best_action_a_policy_keeps_its_width_and_does_not_drift() -> None:
    """1,200 updates on an exact Q. The standard deviation is that of a Gaussian with the target entropy."""
    made = actor(2, -2.0, 16, candidates=4, perturbations=4, resample=4, solver_steps=4, actor_lr=2e-3)
    generator, bowl = torch.Generator().manual_seed(1), Bowl(1.0, best=0.5)
    errors, widths = [], []
    for _ in range(4):
        for _ in range(300):
            made.improve(batch(8, 2, generator), bowl, generator)
        actions = made.propose(torch.zeros(200, OBSERVATION), 8, generator).end.tanh()
        errors.append(float((actions - 0.5).square().mean().sqrt()))
        widths.append(float(actions.std(dim=1).mean()))
    assert max(errors[1:]) < 0.2
    exact = math.exp(-1) / math.sqrt(2 * math.pi * math.e)  # entropy of -1 nat a dimension
    assert widths[-1] == pytest.approx(exact, rel=0.4)
