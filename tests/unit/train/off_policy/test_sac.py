"""SAC: losses equal to stable-baselines3's for the same weights, and the deployed mean."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium.spaces import Box
from torch import nn

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.off_policy import sac
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.off_policy.sac import SacActor
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.runs.folder import load_policy

O, A, B = 2, 2, 64  # noqa: E741


class Still(gymnasium.Env[Any, Any]):
    """The part of an environment that stable-baselines3 needs."""

    observation_space, action_space = Box(-9, 9, (O,)), Box(-1, 1, (A,))


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def take_over(actor: SacActor, critics: TwinCritics, targets: TwinCritics, model: sb3.SAC) -> None:
    """Copy the weights of stable-baselines3's model."""
    *hidden, mean, log_std = linears(model.actor)
    theirs = [*([layer] for layer in hidden), [mean, log_std]]
    for own, sources in zip(linears(actor.net), theirs, strict=True):
        own.weight.data = torch.cat([layer.weight for layer in sources]).detach().clone()
        own.bias.data = torch.cat([layer.bias for layer in sources]).detach().clone()
    for ours, other in ((critics, model.critic), (targets, model.critic_target)):
        for own, layer in zip(linears(ours), linears(other), strict=True):
            own.load_state_dict(layer.state_dict())


def test_losses_and_targets_are_those_of_stable_baselines3(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sb3.SAC(
        "MlpPolicy", Still(), seed=1, device="cpu", ent_coef="auto_0.3", policy_kwargs={"net_arch": [16, 16]}
    )  # fmt: skip
    actor, critics = SacActor(O, A, (16, 16), target_entropy=-2.0, alpha=0.3), TwinCritics(O, A, (16, 16))
    envs = make_vector(get("multigoal-2d"), 1, workers=0)
    core = OffPolicy(OffPolicyConfig(), actor, critics, envs, torch.Generator())
    take_over(actor, critics, core.targets, model)
    rng = torch.Generator().manual_seed(5)
    rows = Transitions(
        torch.randn(B, O, generator=rng), 2 * torch.rand(B, A, generator=rng) - 1, torch.randn(B, generator=rng),
        torch.randn(B, O, generator=rng), (torch.rand(B, generator=rng) < 0.3).float(), torch.ones(B),
    )  # fmt: skip
    batch = SimpleNamespace(
        observations=rows.observation, actions=rows.action, next_observations=rows.following,
        dones=rows.terminated[:, None], rewards=rows.reward[:, None], discounts=None,
    )  # fmt: skip
    figures: dict[str, float] = {}
    logger = SimpleNamespace(record=lambda name, value, **_: figures.update({name: float(value)}))
    monkeypatch.setattr(model.replay_buffer, "sample", lambda *_, **__: batch)
    monkeypatch.setattr(model, "_logger", logger, raising=False)
    torch.manual_seed(7)  # the draws of stable-baselines3: the actor's, then the targets'
    model.train(gradient_steps=1, batch_size=B)

    core.generator.manual_seed(7)
    torch.randn(B, A, generator=core.generator)
    critic_loss, _ = core.critic_loss(rows)
    core.optimizer.zero_grad()
    critic_loss.backward()  # type: ignore[no-untyped-call]
    core.optimizer.step()
    loss, alpha_loss, _ = actor.losses(rows, critics, core.generator.manual_seed(7))
    assert critic_loss.item() == pytest.approx(figures["train/critic_loss"], rel=1e-4)
    assert loss.item() == pytest.approx(figures["train/actor_loss"], rel=1e-3, abs=1e-4)
    assert alpha_loss.item() == pytest.approx(figures["train/ent_coef_loss"], rel=1e-3, abs=1e-4)
    for ours, other in zip(linears(critics), linears(model.critic), strict=True):
        torch.testing.assert_close(ours.weight, other.weight, rtol=1e-3, atol=1e-5)


def test_the_density_is_that_of_the_squashed_gaussian() -> None:
    """Compare with the change of variables, with the derivative of tanh from autograd."""
    actor, observation = SacActor(O, A, (8,), -2.0), torch.randn(30, O)
    action, log_density = actor.draw(observation, torch.Generator().manual_seed(0))
    mean, log_std = actor.net(observation).chunk(2, dim=-1)
    u = action.detach().atanh().double()
    density = torch.distributions.Normal(mean.double(), log_std.double().exp()).log_prob(u)  # type: ignore[no-untyped-call]
    slope = torch.func.vmap(torch.func.vmap(torch.func.grad(torch.tanh)))(u)
    torch.testing.assert_close(log_density.double(), (density - slope.log()).sum(-1), rtol=1e-3, atol=1e-3)


def test_the_verb_writes_the_mean_in_robot_units(tmp_path: Path) -> None:
    options = [
        "--task", "humanoid", "--out", str(tmp_path), "--steps", "24", "--start-steps", "8", "--envs", "2",
        "--workers", "0", "--widths", "8", "--critic-widths", "8", "--batch", "4", "--score-episodes", "0",
    ]  # fmt: skip
    sac.main(options)
    policy, card = load_policy(tmp_path)
    assert (card.method, card.kind) == ("sac", "mlp")
    config = sac.Config("humanoid", tmp_path, widths=(8,), critic_widths=(8,))
    assert isinstance(policy, MlpPolicy)
    envs = make_vector(get("humanoid"), 1, workers=0)
    learner = sac.start(config, policy.config, OffPolicyConfig(), envs)
    learner.resume(config)
    raw = torch.randn(6, 348, dtype=torch.float64) * 100
    assert isinstance(learner.core.actor, SacActor)
    with torch.no_grad():
        mean = learner.core.actor.net(learner.core.normalise(raw))[:, :17]
        torch.testing.assert_close(policy(raw).float(), 0.4 * mean.tanh(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("option", "value"), [("alpha", "0"), ("alpha-lr", "-1")])
def test_an_invalid_number_is_refused_by_its_option(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected a number above 0"):
        sac.main(["--task", "hopper", "--out", str(tmp_path), f"--{option}", value])


def test_exploration_stays_within_the_unit_limits() -> None:
    actor = SacActor(O, A, (8,), -2.0)
    tried = actor.act(torch.randn(50, O) * 10, TwinCritics(O, A, (4,)), torch.randn(50, A))
    assert np.abs(tried.numpy()).max() <= 1


@pytest.mark.parametrize(("given", "expected"), [(None, 2e-3), (5e-4, 5e-4)])
def test_alpha_has_the_rate_of_the_critics_unless_it_is_given(given: float | None, expected: float) -> None:
    config = sac.Config("multigoal-2d", Path(), lr=2e-3, alpha_lr=given)
    envs = make_vector(get("multigoal-2d"), 1, workers=0)
    learner = sac.start(config, MlpConfig(O, A, (8,), "ReLU", squash=True), OffPolicyConfig(), envs)
    assert learner.core.actor.optimizers["alpha"].param_groups[0]["lr"] == expected
