"""FM-A2C: the critic's gradient through the solver, bounded by the clip, and a bandit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.flow_rl.actor import Sampling
from odeploy_train.flow_rl.fm_a2c import Config, FmA2cActor, actor, main
from odeploy_train.flow_rl.run import start
from odeploy_train.modules.networks import VelocityNet, initialise, initialise_orthogonal, mlp
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.runs import checkpoint
from tests.bandit import practise

O, D = 4, 2  # noqa: E741


def fm_a2c_actor() -> FmA2cActor:
    """Return an actor with large weights, in float64."""
    advantage = mlp((O + D, 8, 1), nn.Tanh)
    made = FmA2cActor(VelocityNet(O, D, 8, 2), Sampling(EULER, uniform_grid(5), squash=True), advantage)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    return made.double()


def rows(made: FmA2cActor, count: int = 9) -> Rows:
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(count, O, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, D, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        action, unit = (made.to_unit(made.sample(observation, n)) for n in (noise, -noise))
    advantage = torch.randn(count, generator=generator, dtype=torch.float64)
    return Rows(observation, action, advantage, advantage, advantage, {"noise": -noise, "unit": unit})


def velocity_gradient(made: FmA2cActor, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(made.velocity.parameters()))])


def test_the_gradient_is_that_of_the_critics_mean_value_through_all_steps() -> None:
    """Compare with central differences of every weight of a small velocity network."""
    made = fm_a2c_actor()
    batch = rows(made)
    gradient = velocity_gradient(made, made.objective(batch, 0.2)[0])

    def mean_value() -> float:
        with torch.no_grad():
            unit = made.to_unit(made.sample(batch.observation, batch.remembered["noise"]))
            mean: float = made.advantage(torch.cat([batch.observation, unit], -1)).mean().item()
            return mean

    by_difference, h = [], 1e-6
    with torch.no_grad():
        for weight in made.velocity.parameters():
            flat = weight.view(-1)
            for i in range(len(flat)):
                flat[i] += h
                above = mean_value()
                flat[i] -= 2 * h
                by_difference.append(-(above - mean_value()) / (2 * h))
                flat[i] += h
    torch.testing.assert_close(gradient, torch.tensor(by_difference, dtype=torch.float64), atol=1e-8, rtol=1e-5)
    assert gradient.norm() > 1e-2


def test_the_critics_gradient_is_that_of_its_error_on_the_rollouts_actions() -> None:
    made = fm_a2c_actor()
    batch = rows(made)
    critic = list(made.advantage.parameters())
    pair = torch.cat([batch.observation, batch.action], -1)
    error = (made.advantage(pair).squeeze(-1) - batch.advantage).square().mean()
    loss, info = made.objective(batch, 0.2)
    for ours, expected in zip(torch.autograd.grad(loss, critic), torch.autograd.grad(error, critic), strict=True):
        torch.testing.assert_close(ours, expected)
    assert info["advantage_loss"].item() == pytest.approx(error.item())


@pytest.mark.parametrize(("side", "pulls_back"), [(1.0, False), (-1.0, True)])
def test_beyond_the_clip_an_improved_action_has_no_gradient_and_a_worse_one_has(
    side: float, pulls_back: bool
) -> None:
    made = fm_a2c_actor()
    slope = torch.tensor([1.0, -2.0], dtype=torch.float64)
    made.advantage = nn.Linear(O + D, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        made.advantage.weight.copy_(torch.cat([torch.zeros(O, dtype=torch.float64), slope])[None])
    batch = rows(made)
    before = batch.remembered["unit"] - side * 0.3 * slope.sign()  # the flow has moved by 0.3
    moved = replace(batch, remembered=batch.remembered | {"unit": before})
    assert bool(velocity_gradient(made, made.objective(moved, 0.2)[0]).any()) == pulls_back
    assert bool(velocity_gradient(made, made.objective(moved, 0.4)[0]).any())
    assert made.objective(moved, 0.2)[1]["clipped"] == 1


def test_with_a_frozen_velocity_only_the_critic_has_a_gradient() -> None:
    made = fm_a2c_actor()
    made.velocity.requires_grad_(False)
    loss, info = made.objective(rows(made), 0.2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None for weight in made.velocity.parameters())
    assert all(weight.grad is not None for weight in made.advantage.parameters())
    assert list(info) == ["advantage_loss"]


def test_the_remembered_action_is_the_policys_sample_of_the_remembered_noise() -> None:
    made = fm_a2c_actor().float()
    observation = torch.randn(6, O, generator=torch.Generator().manual_seed(0))
    kept = made.remember(observation, torch.zeros(6, D), torch.Generator().manual_seed(1))
    torch.testing.assert_close(kept["unit"], made.to_unit(made.sample(observation, kept["noise"])))
    assert kept["noise"].std() > 0.5


def test_on_a_bandit_fm_a2c_finds_a_good_action() -> None:
    generator = torch.Generator().manual_seed(0)
    advantage = mlp((1 + D, 64, 1), nn.Tanh)
    initialise_orthogonal(advantage, 0.01, generator)
    made = FmA2cActor(VelocityNet(1, D, 32, 2), Sampling(EULER, uniform_grid(4)), advantage)
    initialise(made.velocity, generator)
    assert practise(made, 14, 0.2, 3e-3, generator) < 0.3


def test_critics_learn_each_rollout_first_and_are_in_the_checkpoint(tmp_path: Path) -> None:
    task = get("hopper")
    config = Config("hopper", tmp_path, envs=2, ticks=16, batch=32, epochs=1, solver_steps=4, critic_warmup=1)
    made, again = (
        start(config, actor, task, make_vector(task, 2, workers=0), FlowConfig(11, 3, 16, 2, squash=True))
        for _ in range(2)
    )
    flow = made.ppo.actor
    assert isinstance(flow, FmA2cActor)
    moves: list[bool] = []
    objective = flow.objective

    def noted(rows: Rows, clip: float) -> tuple[Tensor, dict[str, Tensor]]:
        moves.append(flow.velocity.last.weight.requires_grad)
        return objective(rows, clip)

    flow.objective = noted  # type: ignore[method-assign]
    for _ in range(2):
        made.ppo.update(made.ppo.rows(made.ppo.collect()), 0.0)
    assert moves == [False, False, True]
    checkpoint.save(tmp_path, made.state())
    again.resume(config)
    assert isinstance(again.ppo.actor, FmA2cActor)
    pairs = zip(flow.parameters(), again.ppo.actor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    for one in (made, again):
        one.ppo.envs.close()


def test_a_kl_limit_is_refused_by_a_method_without_a_ratio(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--kl-limit: expected a method with a ratio"):
        main(["--task", "hopper", "--out", str(tmp_path / "run"), "--kl-limit", "0.1"])
    assert not (tmp_path / "run").exists()
