"""PPO of a flow: the deployed policy, averaged weights, warm-up of the critic, start from a trained flow."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.manipulation import HAND_ROTATE
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.flow_rl.flow_ppo import FlowPpo, ZeroSampled, begin_from, deployed
from odeploy_train.flow_rl.fpo import fpo
from odeploy_train.flow_rl.fpo_run import Config, actor
from odeploy_train.flow_rl.run import start
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.on_policy.run import Learner
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.runs import checkpoint
from tests.policies import flow_policy

HOPPER = get("hopper")


def learner(task: Task = HOPPER, **options: Any) -> Learner:
    config = Config(task.name, Path("unused"), envs=2, ticks=32, batch=32, epochs=2, **options)
    sizes = FlowConfig(len(task.observation), len(task.action), 32, 3, clip=10.0, squash=config.squash)
    return start(config, partial(actor, fpo), task, make_vector(task, 2, workers=0), sizes)


def flow_ppo(made: Learner) -> FlowPpo:
    assert isinstance(made.ppo, FlowPpo)
    return made.ppo


@pytest.fixture(params=["squashed", "clipped", "averaged"])
def trained(request: pytest.FixtureRequest) -> Iterator[Learner]:
    """Return a learner after two iterations."""
    options: dict[str, dict[str, Any]] = {
        "squashed": {"action_scale": 0.5},
        "clipped": {"squash": False, "action_scale": 0.4, "output_scale": 1.0},
        "averaged": {"average": 0.5},
    }
    made = learner(**options[request.param], lr=3e-3, zero_start=False)
    for _ in range(2):
        rollout = made.ppo.collect()
        made.ppo.update(made.ppo.rows(rollout), 0.0)
        made.ppo.learn_scale(rollout.raw.flatten(0, 1))
    yield made
    made.ppo.envs.close()


def test_the_deployed_policy_is_the_actors_zero_noise_sample_in_robot_units(trained: Learner) -> None:
    ppo, policy = flow_ppo(trained), trained.deploy()
    assert isinstance(policy, ZeroSampled)
    raw = 3 * torch.randn(50, 11, generator=torch.Generator().manual_seed(0))
    raw[0] = 1e4  # beyond the normaliser's clip
    if ppo.average is not None:
        assert not torch.equal(ppo.average.last.weight, ppo.flow.velocity.last.weight)
        ppo.flow.velocity.load_state_dict(ppo.average.state_dict())
    with torch.no_grad():
        unit = ppo.flow.to_unit(ppo.flow.sample(ppo.normalise(raw), torch.zeros(50, 3)))
        robot = policy(raw.double())
    torch.testing.assert_close(robot, unit.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    assert robot.std() > 0.01


def test_the_average_moves_by_a_share_after_each_update() -> None:
    ppo = flow_ppo(learner(average=0.75, lr=1e-2))
    assert ppo.average is not None
    expected = ppo.flow.velocity.last.weight.detach().clone()
    for _ in range(3):
        ppo.update(ppo.rows(ppo.collect()), 0.0)
        expected = 0.75 * expected + 0.25 * ppo.flow.velocity.last.weight.detach()
    torch.testing.assert_close(ppo.average.last.weight.detach(), expected)
    ppo.envs.close()


def test_a_checkpoint_contains_the_weights_and_their_average(tmp_path: Path) -> None:
    made, again = learner(average=0.5), learner(average=0.5)
    made.ppo.update(made.ppo.rows(made.ppo.collect()), 0.0)
    checkpoint.save(tmp_path, made.state())
    again.resume(replace(Config("hopper", tmp_path)))
    for ours, theirs in zip(made._modules().values(), again._modules().values(), strict=True):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert again.ppo.steps == 64
    for one in (made, again):
        one.ppo.envs.close()


def test_only_the_critic_learns_during_its_warm_up() -> None:
    made = learner(critic_warmup=2)
    ppo = flow_ppo(made)
    for warm in (False, False, True):
        flow = vector(ppo.flow.velocity)
        critic, mean = vector(ppo.critic), ppo.moments.mean.clone()
        rollout = ppo.collect()
        ppo.update(ppo.rows(rollout), 0.0)
        ppo.learn_scale(rollout.raw.flatten(0, 1))
        assert torch.equal(vector(ppo.flow.velocity), flow) != warm
        assert not torch.equal(vector(ppo.critic), critic)
        assert not torch.equal(ppo.moments.mean, mean)
    ppo.envs.close()


def test_an_interrupted_warm_up_continues(tmp_path: Path) -> None:
    made, again = learner(critic_warmup=2), learner(critic_warmup=2)
    made.ppo.update(made.ppo.rows(made.ppo.collect()), 0.0)
    checkpoint.save(tmp_path, made.state())
    again.resume(Config("hopper", tmp_path))
    ppo = flow_ppo(again)
    for warm in (False, True):
        flow = vector(ppo.flow.velocity)
        ppo.update(ppo.rows(ppo.collect()), 0.0)
        assert torch.equal(vector(ppo.flow.velocity), flow) != warm
    for one in (made, again):
        one.ppo.envs.close()


def vector(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("task", [MAZE_MEDIUM, HAND_ROTATE], ids=lambda task: task.name)
def test_an_actor_that_starts_from_a_flow_samples_as_the_flow(task: Task, squash: bool) -> None:
    plain = flow_policy(task)
    teacher = FlowPolicy(replace(plain.config, squash=squash))
    teacher.load_state_dict(plain.state_dict())
    made = learner(task, squash=squash, output_scale=1.0)
    ppo = flow_ppo(made)
    begin_from(teacher, ppo, task)
    generator = torch.Generator().manual_seed(0)
    raw = teacher.observation_mean + teacher.observation_std * torch.randn(
        20, len(task.observation), generator=generator
    )
    noise, grid = torch.randn(20, len(task.action), generator=generator), uniform_grid(10)
    half, middle = (teacher.high - teacher.low) / 2, (teacher.high + teacher.low) / 2
    with torch.no_grad():
        unit = ppo.flow.to_unit(ppo.flow.sample(ppo.normalise(raw), noise))
        expected = teacher.sample(raw, noise, EULER, grid)
        torch.testing.assert_close(middle + half * unit.clamp(-1, 1), expected, atol=1e-4, rtol=1e-4)
        expected = teacher.sample(raw, torch.zeros_like(noise), EULER, grid)
        found = deployed(ppo, task, replace(teacher.config, clip=10.0), EULER, grid)(raw)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    before = ppo.moments.mean.clone()
    ppo.learn_scale(ppo.collect().raw.flatten(0, 1))
    assert torch.equal(ppo.moments.mean, before)
    ppo.envs.close()
