"""The off-policy core: contents of the replay, critic targets, target networks."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import SerialVectorEnv
from odeploy_train.off_policy.core import Actor, OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.runs.learning_curve import Info

MULTIGOAL = get("multigoal-2d")


class East(Actor):
    """An actor that always moves east and values every state at 7."""

    noise_shape = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.optimizers = {}

    def act(self, observation: Tensor, critics: TwinCritics, noise: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]).expand(len(observation), -1)

    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        return torch.full((len(observation),), 7.0)

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        return {}


def core(start_steps: int = 2, **options: Any) -> OffPolicy:
    envs = make_vector(MULTIGOAL, 2, workers=0)
    config = OffPolicyConfig(start_steps=start_steps, capacity=500, **options)
    return OffPolicy(config, East(), TwinCritics(2, 2, (8,)), envs, torch.Generator().manual_seed(0))


def stored(made: OffPolicy) -> Transitions:
    return made.replay.draw(3000, torch.Generator().manual_seed(0))


def test_reaching_a_goal_terminates_with_the_goal_as_last_observation() -> None:
    made = core()
    ended = [made.tick() for _ in range(40)]  # the goal in the east is 25 ticks away
    rows = stored(made)
    last = rows.following[rows.terminated > 0]
    assert len(last) > 0
    assert (torch.linalg.norm(last - torch.tensor([5.0, 0.0]), dim=1) < 0.5).all()
    successes = np.concatenate([success for _, success in ended])
    assert len(successes) == 2
    assert successes.all()


def test_an_episode_cut_by_the_horizon_does_not_terminate() -> None:
    made = core(start_steps=400)  # random actions reach no goal
    returns = np.concatenate([made.tick()[0] for _ in range(60)])
    assert len(returns) == 2
    rows = stored(made)
    assert not rows.terminated.any()
    moved = torch.linalg.norm(rows.following - rows.observation, dim=1)
    assert float(moved.max()) < 0.3, "a following observation is never the next episode's first"


@pytest.mark.envpool
def test_envpools_episodes_end_with_their_own_last_observation_and_only_goals_terminate() -> None:
    pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'odeploy[envpool]'")
    maze, envs = replace(get("maze-medium"), horizon=40), 16
    vector = make_vector(maze, envs, workers=1, backend="envpool")
    config, generator = OffPolicyConfig(start_steps=2, capacity=2000), torch.Generator().manual_seed(0)
    with closing(vector):
        made = OffPolicy(config, East(), TwinCritics(6, 2, (8,)), vector, generator)
        successes = np.concatenate([made.tick()[1] for _ in range(120)])
    rows = made.replay.draw(20_000, generator)
    ball, goal = rows.following[:, :2], rows.following[:, 4:]
    moved = torch.linalg.norm(ball - rows.observation[:, :2], dim=1)
    assert float(moved.max()) < 0.1, "a following observation is never the next episode's first"
    assert torch.equal(goal, rows.observation[:, 4:])
    assert len(successes) > 3 * envs - 3, "most were cut by the horizon, all were begun again"
    at_goal = torch.linalg.norm(ball - goal, dim=1) <= 0.45
    assert torch.equal(rows.terminated > 0, at_goal)
    assert at_goal.any()
    assert successes.any()


def test_a_tick_of_a_broken_simulation_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    made, step = core(), SerialVectorEnv.step

    def broken(envs: SerialVectorEnv, actions: Any) -> Any:
        *rest, info = step(envs, actions)
        return *rest, info | {"invalid": np.array([False, True])}

    made.tick()
    monkeypatch.setattr(SerialVectorEnv, "step", broken)
    made.tick()
    assert (made.steps, len(made.replay)) == (4, 3)


def test_updates_begin_after_the_start_steps_at_their_rate() -> None:
    made = core(start_steps=10, updates_per_step=0.25)
    for _ in range(4):
        made.tick()
    assert made.owed == 0
    for _ in range(4):
        made.tick()
    assert made.owed == 2


def test_only_critics_learn_until_the_actor_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = core(actor_start_steps=6, batch=4)
    improved: list[int] = []

    def improve(*_: Any) -> Info:
        improved.append(made.steps)
        return {}

    monkeypatch.setattr(East, "improve", improve)
    for _ in range(4):
        before = [weight.clone() for weight in made.critics.parameters()]
        made.tick()
        made.update()
        pairs = zip(before, made.critics.parameters(), strict=True)
        assert any(not torch.equal(old, weight) for old, weight in pairs)
    assert improved == [6, 8]


@pytest.mark.parametrize("updates_per_step", [0.5, 2.0])
def test_an_update_reduces_the_owed_updates_by_one(updates_per_step: float) -> None:
    made = core(updates_per_step=updates_per_step, batch=4)
    made.tick()
    made.update()
    assert made.owed == 2 * updates_per_step - 1


def test_critic_targets_are_the_return_plus_the_value_after_it_discounted_by_its_span_unless_terminated() -> None:
    made = core(discount=0.5)
    rows = Transitions(
        torch.randn(3, 2), torch.randn(3, 2), torch.tensor([1.0, 2.0, 3.0]), torch.randn(3, 2),
        torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 3.0]),
    )  # fmt: skip
    y = torch.tensor([1 + 3.5, 2.0, 3 + 7 / 8])
    q1, q2 = made.critics(rows.observation, rows.action)
    loss, info = made.critic_loss(rows)
    torch.testing.assert_close(loss, 0.5 * ((q1 - y).square().mean() + (q2 - y).square().mean()))
    assert float(info["target"]) == pytest.approx(float(y.mean()))


def test_target_networks_follow_at_their_rate() -> None:
    made = core(target_rate=0.25, batch=4)
    before = [p.clone() for p in made.targets.parameters()]
    made.tick()
    made.update()
    for old, target, weight in zip(before, made.targets.parameters(), made.critics.parameters(), strict=True):
        torch.testing.assert_close(target, 0.75 * old + 0.25 * weight)
        assert weight.requires_grad


def test_improved_actions_are_stored_next_to_the_taken_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def improve(_self: East, rows: Transitions, _critics: TwinCritics, _generator: torch.Generator) -> Info:
        assert rows.improved is not None
        rows.improved.fill_(0.25)
        seen.append(rows.action)
        return {}

    monkeypatch.setattr(East, "improves_replay", True)
    monkeypatch.setattr(East, "improve", improve)
    made = core(batch=64)
    made.tick()
    made.update()
    rows = stored(made)
    assert rows.improved is not None
    assert bool((rows.improved == 0.25).all())
    assert not bool((seen[0] == 0.25).any())
    assert not bool((rows.action == 0.25).any())


def test_the_actor_is_updated_at_every_nth_update(monkeypatch: pytest.MonkeyPatch) -> None:
    made = core(actor_every=3, batch=4)
    improved: list[int] = []

    def improve(*_: Any) -> Info:
        improved.append(made.updates)
        return {}

    monkeypatch.setattr(East, "improve", improve)
    made.tick()
    for _ in range(7):
        made.update()
    assert improved == [3, 6]


def test_random_actions_at_the_start_are_held_and_redrawn_in_a_new_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, step, sent = core(start_steps=400, hold=30), SerialVectorEnv.step, []

    def watched(envs: SerialVectorEnv, actions: Any) -> Any:
        sent.append(actions[0].copy())
        return step(envs, actions)

    monkeypatch.setattr(SerialVectorEnv, "step", watched)
    for _ in range(59):
        made.tick()  # an episode has 50 ticks
    changes = (np.diff(sent, axis=0) != 0).any(axis=1).nonzero()[0] + 1
    assert changes.tolist() == [30, 50]


def test_an_actors_noise_is_held_and_standard_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def act(_self: East, observation: Tensor, _critics: TwinCritics, noise: Tensor) -> Tensor:
        seen.append(noise)
        return torch.zeros(len(observation), 2)

    monkeypatch.setattr(East, "noise_shape", (3, 4))
    monkeypatch.setattr(East, "act", act)
    made = core(start_steps=2, hold=2)
    for _ in range(41):
        made.tick()
    assert seen[0].shape == (2, 3, 4)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert float(torch.stack(seen).std()) == pytest.approx(1, abs=0.15)


def test_the_replay_holds_returns_of_several_ticks() -> None:
    """The actor moves east at a constant pace, by its third tick at the latest."""
    one, three = core(returns=1), core(returns=3)
    for made in (one, three):
        for _ in range(10):
            made.tick()
    assert (len(one.replay), len(three.replay)) == (20, 16)
    single, rows = stored(one), stored(three)
    assert set(rows.span.tolist()) == {3.0}
    pace, moved = ((each.following - each.observation)[:, 0].max() for each in (single, rows))
    assert float(moved) == pytest.approx(3 * float(pace), rel=1e-3)


@pytest.mark.parametrize("broken", ["observation", "reward"])
def test_a_nan_is_refused_by_name_and_not_stored(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, step = core(), SerialVectorEnv.step

    def poisoned(envs: SerialVectorEnv, actions: Any) -> Any:
        observations, rewards, *rest = step(envs, actions)
        (observations[1] if broken == "observation" else rewards)[1] = np.nan
        return observations, rewards, *rest

    monkeypatch.setattr(SerialVectorEnv, "step", poisoned)
    name = "following, environment 1, signal 1" if broken == "observation" else "reward, environment 1"
    with pytest.raises(ContractError, match=f"step 2: {name}: expected a finite number, got nan"):
        made.tick()
    assert len(made.replay) == 0
    assert bool(made.moments.mean.isfinite().all())
