"""The PPO core: rollouts match the simulations, and updates follow the formulas."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import SerialVectorEnv
from odeploy_train.modules.networks import initialise_orthogonal, mlp
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.options import PpoConfig
from odeploy_train.on_policy.ppo import Ppo, clipped_surrogate
from odeploy_train.on_policy.rollout import Rollout, Rows

HOPPER = replace(get("hopper"), horizon=7)
CONFIG = PpoConfig(ticks=20, epochs=2, batch=16)
ENVS = 3


def learner(config: PpoConfig = CONFIG, seed: int = 0, log_std: float = -1.0) -> Ppo:
    generator = torch.Generator().manual_seed(seed)
    actor, critic = GaussianActor(11, 3, (16,), log_std), mlp((11, 16, 1), nn.Tanh)
    initialise_orthogonal(actor.mean, 0.01, generator)
    initialise_orthogonal(critic, 1.0, generator)
    return Ppo(config, actor, critic, make_vector(HOPPER, ENVS, seed=3, workers=0), generator)


@pytest.fixture
def ppo() -> Iterator[Ppo]:
    made = learner()
    yield made
    made.envs.close()


def test_a_rollout_matches_the_simulations(ppo: Ppo) -> None:
    """Replay each lane in a single simulation, with the same actions."""
    rollout = ppo.collect()
    for lane in range(ENVS):
        env, episode = TaskEnv(HOPPER), 0
        observation = env.reset(episode_seed(3, lane))
        for t in range(CONFIG.ticks):
            np.testing.assert_array_equal(rollout.raw[t, lane], observation)
            step = env.step(np.clip(rollout.action[t, lane].numpy(), -1, 1))
            assert rollout.reward[t, lane].item() == pytest.approx(step.reward, rel=1e-6)
            assert bool(rollout.terminated[t, lane]) == step.terminated
            assert bool(rollout.over[t, lane]) == step.done
            observation = step.observation
            if step.done:
                if step.truncated and not step.terminated:
                    row = (rollout.cut[0] == torch.tensor([t, lane])).all(1).nonzero().item()
                    np.testing.assert_array_equal(rollout.cut[1][int(row)], observation)
                episode += 1
                observation = env.reset(episode_seed(3, episode * ENVS + lane))
        np.testing.assert_array_equal(rollout.last[lane], observation)
        env.close()
    assert len(rollout.cut[0]) > 0


def test_a_cut_is_bootstrapped_from_the_last_state_of_its_episode(ppo: Ppo) -> None:
    rollout = ppo.collect()
    rows = ppo.rows(rollout)
    t, lane = rollout.cut[0][0].tolist()
    delta = (rows.target - rows.value).view(CONFIG.ticks, ENVS)[t, lane]
    reward = rollout.reward / ppo.return_scale.moments.std(1e-4)
    with torch.no_grad():
        value_at_cut = ppo.critic(ppo.normalise(rollout.cut[1][0]))
        before = ppo.critic(rollout.observation[t, lane])
    expected = reward[t, lane] + CONFIG.discount * value_at_cut - before
    assert delta.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_normaliser_is_constant_within_a_rollout_and_updated_between_rollouts(ppo: Ppo) -> None:
    first = ppo.collect()
    torch.testing.assert_close(first.observation, first.raw.clamp(-10, 10))
    ppo.learn_scale(first.raw.flatten(0, 1))
    second = ppo.collect()
    rows = first.raw.flatten(0, 1).double()
    unit = (second.raw - rows.mean(0)) / rows.std(0, correction=0).clamp(min=1e-4)
    torch.testing.assert_close(second.observation, unit.clamp(-10, 10).float(), atol=1e-5, rtol=1e-5)


def test_before_the_first_update_the_ratio_is_exactly_1(ppo: Ppo) -> None:
    rows = ppo.rows(ppo.collect())
    assert isinstance(ppo.actor, GaussianActor)
    ratio = (ppo.actor.log_density(rows.observation, rows.action) - rows.remembered["log_density"]).exp()
    assert (ratio == 1).all()


def test_the_density_is_that_of_independent_gaussians(ppo: Ppo) -> None:
    assert isinstance(ppo.actor, GaussianActor)
    observation, action = torch.randn(2, 5, 11), torch.randn(5, 3)
    normal = Normal(ppo.actor.mean(observation[0]), ppo.actor.log_std.exp())
    expected = normal.log_prob(action).sum(-1)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ppo.actor.log_density(observation[0], action), expected)


def test_a_state_dependent_std_begins_as_the_constant_one_and_has_its_own_density_and_entropy() -> None:
    actor = GaussianActor(11, 3, (16,), -0.7, 0.01, state_dependent_std=True)
    observation, action, advantage = torch.randn(5, 11), torch.randn(5, 3), torch.randn(5)
    torch.testing.assert_close(actor.mean_and_log_std(observation)[1], torch.full((5, 3), -0.7))
    assert actor.spread is not None
    with torch.no_grad():
        actor.spread.weight.normal_(0, 0.5)
    hidden = actor.mean[:-1](observation)
    normal = Normal(actor.mean(observation), (actor.log_std + hidden @ actor.spread.weight.T).exp())
    density = normal.log_prob(action).sum(-1)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(actor.log_density(observation, action), density)
    rows = Rows(observation, action, advantage, advantage, advantage, {"log_density": density.detach()})
    loss, info = actor.objective(rows, 0.2)
    entropy = normal.entropy().sum(-1).mean()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(info["entropy"], entropy)
    torch.testing.assert_close(loss, -advantage.mean() - 0.01 * entropy, atol=1e-5, rtol=1e-4)
    noise = actor.act(observation.repeat(4000, 1), torch.Generator().manual_seed(0)).view(4000, 5, 3).std(0)
    torch.testing.assert_close(noise, normal.stddev, atol=0, rtol=0.06)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [(1.5, 1.0, -1.2), (1.5, -1.0, 1.5), (0.5, 1.0, -0.5), (0.5, -1.0, 0.8), (1.1, 2.0, -2.2)],
)
def test_the_surrogate_is_the_pessimistic_one(ratio: float, advantage: float, loss: float) -> None:
    found, info = clipped_surrogate(torch.tensor([ratio]), torch.tensor([advantage]), 0.2)
    assert found.item() == pytest.approx(loss)
    assert info["clipped"].item() == float(abs(ratio - 1) > 0.2)


def test_at_ratio_1_the_gradient_is_the_policy_gradient() -> None:
    actor = GaussianActor(2, 1, (8,))
    observation, action, advantage = torch.randn(6, 2), torch.randn(6, 1), torch.randn(6)
    rows = Rows(observation, action, advantage, advantage, advantage, {})
    with torch.no_grad():
        old = actor.remember(observation, action, torch.Generator())
    loss, _ = actor.objective(replace(rows, remembered=old), 0.2)
    by_formula = -(advantage * actor.log_density(observation, action)).mean()
    parameters = list(actor.parameters())
    for a, b in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(by_formula, parameters), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_a_clipped_value_has_no_gradient_beyond_its_clip() -> None:
    ppo = learner(replace(CONFIG, value_clip=0.1))
    observation = torch.randn(4, 11)
    with torch.no_grad():
        value = ppo.critic(observation).squeeze(-1)
    rows = Rows(
        observation, torch.zeros(4, 3), torch.zeros(4), value + 5, value - 1, {}
    )  # the value has moved by 1
    inside = replace(rows, value=value)
    assert ppo._value_loss(rows).item() == pytest.approx(5.9**2, rel=1e-4)
    assert ppo._value_loss(inside).item() == pytest.approx(25, rel=1e-4)
    parameters = list(ppo.critic.parameters())
    clipped = torch.autograd.grad(ppo._value_loss(rows), parameters)
    assert all((g == 0).all() for g in clipped)
    ppo.envs.close()


def test_a_custom_reward_replaces_the_environments(ppo: Ppo) -> None:
    seen: list[Rollout] = []

    def reward(rollout: Rollout) -> Tensor:
        seen.append(rollout)
        return torch.zeros_like(rollout.reward)

    ppo.reward = reward
    rollout = ppo.collect()
    rows = ppo.rows(rollout)
    assert seen == [rollout]
    assert not torch.equal(rollout.reward, torch.zeros_like(rollout.reward))
    ppo.reward = lambda r: r.reward
    assert not torch.allclose(rows.target, ppo.rows(rollout).target)


def test_advantages_are_normalised_over_the_rollout_and_not_over_a_minibatch(ppo: Ppo) -> None:
    """One rewarded tick: the other minibatches hold advantages near 0, and keep them."""
    rollout = ppo.collect()
    ppo.reward = lambda r: (torch.arange(r.reward.numel()) == 30).float().view(r.reward.shape)
    rows = ppo.rows(rollout)
    raw = rows.target - rows.value
    torch.testing.assert_close(rows.advantage, (raw - raw.mean()) / raw.std(correction=0), atol=1e-5, rtol=1e-4)
    seen: list[Tensor] = []
    objective = ppo.actor.objective

    def watched(minibatch: Rows, clip: float) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(minibatch.advantage)
        return objective(minibatch, clip)

    ppo.actor.objective = watched  # type: ignore[assignment,method-assign]
    ppo.update(rows, 0.0)
    first_pass = torch.cat(seen[: -(-len(rows) // CONFIG.batch)])
    assert torch.equal(first_pass.sort().values, rows.advantage.sort().values)


@pytest.mark.parametrize("batch", [16, 59])  # 59 leaves a minibatch of one row
def test_a_rollout_of_equal_advantages_leaves_the_actor_unchanged(batch: int) -> None:
    made = learner(replace(CONFIG, batch=batch, scale_rewards=False))
    with torch.no_grad():
        for weight in made.critic.parameters():
            weight.zero_()
    made.config = replace(made.config, trace_decay=0.0)
    made.reward = lambda r: torch.full_like(r.reward, 0.3)
    rows = made.rows(made.collect())
    assert (rows.advantage == 0).all()
    before = [weight.detach().clone() for weight in made.actor.parameters()]
    figures = made.update(rows, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, made.actor.parameters(), strict=True))
    assert all(math.isfinite(figure) for figure in figures.values())
    made.envs.close()


def test_a_tick_of_a_broken_simulation_is_left_out_and_the_tick_before_it_bootstraps(
    ppo: Ppo, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, count = SerialVectorEnv.step, iter(range(100))

    def broken(envs: SerialVectorEnv, actions: Any) -> Any:
        observations, rewards, terminated, truncated, info = step(envs, actions)
        if next(count) == 4:  # before the first end, at tick 7
            rewards[1], terminated[1] = 0.0, True
            info["invalid"][1] = True
        return observations, rewards, terminated, truncated, info

    monkeypatch.setattr(SerialVectorEnv, "step", broken)
    rollout = ppo.collect()
    assert rollout.valid.logical_not().nonzero().tolist() == [[4, 1]]
    rows = ppo.rows(rollout)
    kept = rollout.valid.flatten()
    assert len(rows) == CONFIG.ticks * ENVS - 1
    assert torch.equal(rows.action, rollout.action.flatten(0, 1)[kept])
    assert torch.equal(
        rows.remembered["log_density"], ppo.actor.remember(*_pairs(rows), ppo.generator)["log_density"]
    )
    before = 3 * ENVS + 1  # no row before it is left out
    with torch.no_grad():
        here, left = ppo.critic(rollout.observation[3:5, 1]).squeeze(-1)
    reward = rollout.reward[3, 1] / ppo.return_scale.moments.std(1e-4)
    expected = reward + CONFIG.discount * left - here
    assert (rows.target - rows.value)[before].item() == pytest.approx(expected.item(), abs=1e-5)
    assert rows.advantage.mean().item() == pytest.approx(0, abs=1e-6)


def _pairs(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.observation, rows.action


def test_an_added_loss_is_added_once_per_minibatch(ppo: Ppo) -> None:
    calls = 0
    weight = next(iter(ppo.actor.parameters()))

    def pull() -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        loss = 1e4 * weight.square().sum()
        return loss, {"pull": loss.detach()}

    ppo.added_loss = pull
    before = weight.detach().norm()
    info = ppo.update(ppo.rows(ppo.collect()), 0.0)
    assert calls == CONFIG.epochs * -(-CONFIG.ticks * ENVS // CONFIG.batch)
    assert info["pull"] > 0
    assert weight.detach().norm() < before


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    def trained() -> list[bytes]:
        ppo = learner()
        for i in range(2):
            rollout = ppo.collect()
            ppo.update(ppo.rows(rollout), i / 2)
            ppo.learn_scale(rollout.raw.flatten(0, 1))
        ppo.envs.close()
        return [p.detach().numpy().tobytes() for p in ppo.actor.parameters()]

    assert trained() == trained()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile writes C++ for a CPU")
def test_compiled_updates_equal_uncompiled_ones() -> None:
    weights = []
    for compiled in (False, True):
        made = learner(replace(CONFIG, compile=compiled))
        made.update(made.rows(made.collect()), 0.0)
        made.envs.close()
        weights.append(torch.cat([p.detach().flatten() for p in made._trained]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_updates_on_a_gpu_equal_those_on_the_cpu_and_all_tensors_return() -> None:
    weights = []
    for device in ("cpu", "cuda"):
        made = learner(replace(CONFIG, device=device))
        rows = made.rows(made.collect())
        for progress in (0.0, 0.5):
            made.update(rows, progress)
        made.envs.close()
        moments = [kept for state in made.optimizer.state.values() for kept in state.values()]
        assert {kept.device.type for kept in (*made.actor.parameters(), *moments)} == {"cpu"}
        weights.append(torch.cat([p.detach().flatten() for p in made.actor.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)


def test_passes_over_a_rollout_end_after_the_one_that_exceeds_the_kl_limit(ppo: Ppo) -> None:
    rows = ppo.rows(ppo.collect())
    taken: list[int] = []
    ppo.added_loss = lambda: (taken.append(1) or torch.zeros(()), {})  # type: ignore[func-returns-value]
    for limit, passes in ((math.inf, 2), (1.0, 2), (1e-9, 1)):
        ppo.config = replace(CONFIG, kl_limit=limit)
        taken.clear()
        ppo.update(rows, 0.0)
        assert len(taken) == passes * math.ceil(len(rows) / CONFIG.batch)


def test_the_learning_rate_falls_linearly_to_zero(ppo: Ppo) -> None:
    rows = ppo.rows(ppo.collect())
    before = [p.detach().clone() for p in ppo.actor.parameters()]
    ppo.update(rows, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, ppo.actor.parameters(), strict=True))
    ppo.update(rows, 0.25)
    assert ppo.optimizer.param_groups[0]["lr"] == pytest.approx(0.75 * CONFIG.lr)


def test_on_a_bandit_ppo_finds_the_best_action() -> None:
    """One state, reward -(a - 0.6)²: the environment adds no noise to the update."""
    generator = torch.Generator().manual_seed(0)
    ppo = learner(PpoConfig(ticks=64, epochs=4, batch=64, lr=3e-3))
    ppo.reward = lambda r: -(r.action - 0.6).square().sum(-1)
    observation = torch.zeros(64, ENVS, 11)
    for i in range(80):
        with torch.no_grad():
            action = ppo.actor.act(observation, generator)
        ones = torch.ones(64, ENVS)
        rollout = Rollout(
            observation, observation, action, ones, ones, ones, ones > 0, observation[0],
            (torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 11)), ones, ones,
        )  # fmt: skip
        ppo.update(ppo.rows(rollout), i / 80)
    assert isinstance(ppo.actor, GaussianActor)
    torch.testing.assert_close(ppo.actor.mean(torch.zeros(11)), torch.full((3,), 0.6), atol=0.05, rtol=0)
    ppo.envs.close()
