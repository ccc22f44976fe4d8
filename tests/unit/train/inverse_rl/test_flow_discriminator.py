"""The label-conditioned flow: losses by hand, a reward that ranks pairs, samples of the expert's pairs."""

import math

import pytest
import torch
from torch import Tensor, nn

from odeploy_train.inverse_rl.classification import Transitions
from odeploy_train.inverse_rl.flow_discriminator import LOSS_DRAWS, JointFlow, JointFlowConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def teacher(
    draws: int = 4, shared: bool = True, weight: float = 1.0, bonus: float = 0.0, width: int = 16
) -> JointFlow:
    return JointFlow(1, 1, JointFlowConfig(width, 2, draws, shared, weight, bonus), generator())


def ticks(pairs: Tensor) -> Transitions:
    none = torch.zeros(len(pairs))
    return Transitions(pairs[:, :1], pairs[:, 1:], pairs[:, :1], none)


class Known(nn.Module):
    """v = 3 under the expert's label and 1 under the agent's, for all x and t; it records its inputs."""

    def forward(self, label: Tensor, x: Tensor, t: Tensor) -> Tensor:
        self.inputs = label, x, t
        return (1 + 2 * label).expand(x.shape)


def known(**options: object) -> tuple[JointFlow, Known]:
    made, field = teacher(**options), Known()  # type: ignore[arg-type]
    made.velocity = field  # type: ignore[assignment]
    return made, field


def test_the_losses_follow_the_formula_on_the_same_draws() -> None:
    made, field = known(draws=2)
    x = torch.tensor([[0.5, -1.0], [2.0, 0.25], [0.0, 0.0]])
    expert, agent = made.losses(x, 2, generator())
    label, x_t, t = (a.view(2, 2, 3, -1) for a in field.inputs)
    # x_t = (1 - t) x_0 + t x, so x_0 = (x_t - t x) / (1 - t)
    x0 = (x_t - t * x) / (1 - t)
    by_hand = (1 + 2 * label - (x - x0)).square().mean(-1).mean(1)
    torch.testing.assert_close(torch.stack([expert, agent]), by_hand, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_labels_share_their_draws_or_have_separate_ones(shared: bool) -> None:
    made, field = known(shared=shared)
    made.losses(torch.randn(5, 2, generator=generator(1)), 3, generator())
    _, x_t, t = field.inputs
    assert torch.equal(*x_t.view(2, -1).unbind()) == shared
    assert torch.equal(*t.view(2, -1).unbind()) == shared


def test_draws_of_a_row_are_stratified_over_the_path() -> None:
    made, field = known()
    made.losses(torch.zeros(6, 2), 8, generator())
    times = field.inputs[2].view(2, 8, 6)[0]
    torch.testing.assert_close((times * 8).floor(), torch.arange(8.0)[:, None].expand(8, 6))


def test_the_reward_is_the_difference_of_the_losses_plus_the_bonus() -> None:
    made, _ = known(bonus=20.0)
    pairs = torch.rand(7, 2, generator=generator(2))  # actions are compared within ±1
    expert, agent = made.losses(pairs, made.config.draws, generator(3))
    torch.testing.assert_close(made.reward(ticks(pairs), generator(3)), agent - expert + 20)


def test_the_teachers_loss_is_the_classification_plus_the_experts_flow_loss() -> None:
    """With D known: -log sigmoid(L_0 - L_1) for the expert, -log sigmoid(L_1 - L_0) for the agent."""
    made, _ = known(weight=0.5)
    a, b = torch.rand(2, 9, 2, generator=generator(4))
    draws = generator(5)
    expert_1, expert_0 = made.losses(a, LOSS_DRAWS, draws)
    agent_1, agent_0 = made.losses(b, LOSS_DRAWS, draws)
    d_expert = torch.exp(-expert_1) / (torch.exp(-expert_1) + torch.exp(-expert_0))
    d_agent = torch.exp(-agent_1) / (torch.exp(-agent_1) + torch.exp(-agent_0))
    by_hand = -d_expert.log().mean() - (1 - d_agent).log().mean() + 0.5 * expert_1.mean()
    found, info = made.loss(ticks(a), ticks(b), generator(5))
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(info["flow"], expert_1.mean())


def test_shared_draws_and_averaging_reduce_the_noise_of_the_reward() -> None:
    """The spread over repeated rewards of the same ticks is the noise of the estimate."""
    pairs = ticks(torch.randn(64, 2, generator=generator(6)))

    def noise(draws: int, shared: bool) -> float:
        made, spread = teacher(draws=draws, shared=shared), []
        with torch.no_grad():
            for seed in range(40):
                spread.append(made.reward(pairs, generator(seed)))
        return float(torch.stack(spread).std(0).mean())

    theirs, shared, averaged = noise(1, False), noise(1, True), noise(8, True)
    assert shared < 0.8 * theirs
    assert averaged < 0.6 * shared


@pytest.fixture(scope="module")
def trained() -> JointFlow:
    """Return a flow trained on expert pairs around (0.5, -0.5), agent pairs around (-0.5, 0.5), deviation 0.15."""
    made, draws = teacher(width=64), generator(7)
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3, fused=True)
    middle = torch.tensor([0.5, -0.5])
    for _ in range(500):
        expert = middle + 0.15 * torch.randn(128, 2, generator=draws)
        agent = -middle + 0.15 * torch.randn(128, 2, generator=draws)
        loss, _ = made.loss(ticks(expert), ticks(agent), draws)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return made


def test_the_reward_ranks_the_expert_above_the_agent(trained: JointFlow) -> None:
    """Along the line between them the true log-ratio and the reward rise, and cross 0 at the midpoint."""
    places = torch.linspace(-0.5, 0.5, 9)[:, None] * torch.tensor([[1.0, -1.0]])
    with torch.no_grad():
        reward = trained.reward(ticks(places.repeat_interleave(64, 0)), generator()).view(9, 64).mean(1)
    assert (reward.diff() > 0).float().mean() >= 7 / 8
    assert reward[0] < -0.5
    assert reward[-1] > 0.5
    assert abs(reward[4]) < 0.5 * reward[-1]


def test_samples_under_the_experts_label_are_the_experts_pairs(trained: JointFlow) -> None:
    observation, action = trained.sample(2000, 40, generator(8))
    assert observation.shape == action.shape == (2000, 1)
    for values, mean in ((observation, 0.5), (action, -0.5)):
        assert values.mean().item() == pytest.approx(mean, abs=0.1)
        assert values.std().item() == pytest.approx(0.15, abs=0.1)


def test_time_runs_from_noise_to_data() -> None:
    """For a single point m, v = (m - x_t) / (1 - t); integrated from any noise it ends at m."""
    made = teacher()

    class ToPoint(nn.Module):
        def forward(self, _label: Tensor, x: Tensor, t: Tensor) -> Tensor:
            return (torch.tensor([0.7, -0.2]) - x) / (1 - t[:, None])

    made.velocity = ToPoint()  # type: ignore[assignment]
    observation, action = made.sample(5, 40, generator())
    torch.testing.assert_close(observation, torch.full((5, 1), 0.7))
    torch.testing.assert_close(action, torch.full((5, 1), -0.2))
    assert math.isfinite(float(observation.sum()))
