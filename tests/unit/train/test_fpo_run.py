"""`odeploy train fpo` and `fpo++`, tiny: what is deployed is what was trained, from scratch or from a teacher."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.errors import ContractError, UsageError
from sim_bridge.catalogue import get
from sim_bridge.vector import make_vector
from sim_bridge.vector_env import SerialVectorEnv
from train import checkpoint, fm_bc, fpo_plus_plus_run, fpo_run
from train.flow_actor import FlowActor
from train.flow_ppo import FlowPpo, ZeroSampled
from train.fpo import fpo
from train.fpo_run import Config
from train.ode import EULER, uniform_grid
from train.on_policy import Learner
from train.policies import FlowPolicy
from train.run import load_policy

TINY = (
    "--task", "hopper", "--envs", "2", "--ticks", "32", "--batch", "32", "--epochs", "2", "--width", "16",
    "--depth", "2", "--workers", "0", "--score-every", "64", "--score-episodes", "0",
)  # fmt: skip
HOPPER = get("hopper")
VERBS: list[Callable[[list[str]], None]] = [fpo_run.main, fpo_plus_plus_run.main]


def arguments(out: Path, steps: int = 128, *more: str) -> list[str]:
    return [*TINY, "--out", str(out), "--steps", str(steps), *more]


def learner(config: Config, teacher: FlowPolicy | None = None) -> Learner:
    task = get(config.task)
    config, sizes = fpo_run._settled(config, task, teacher)
    return fpo_run.start(config, fpo, task, make_vector(task, config.envs, workers=0), sizes, teacher)


def config(**more: Any) -> Config:
    return Config("hopper", Path("unused"), envs=2, ticks=32, batch=32, epochs=2, **more)


@pytest.fixture(params=["squashed", "clipped", "averaged"])
def trained(request: pytest.FixtureRequest) -> Iterator[Learner]:
    """A learner after two iterations."""
    options = {
        "squashed": {"action_scale": 0.5},
        "clipped": {"squash": False, "action_scale": 0.4, "output_scale": 1.0},
        "averaged": {"average": 0.5},
    }
    made = learner(config(**options[request.param], lr=3e-3))
    for _ in range(2):
        rollout = made.ppo.collect()
        made.ppo.update(made.ppo.rows(rollout), 0.0)
        made.ppo.learn_scale(rollout)
    yield made
    made.ppo.envs.close()


def test_the_deployed_policy_is_the_actors_own_zero_noise_sample_in_robot_units(trained: Learner) -> None:
    ppo, actor, policy = trained.ppo, trained.ppo.actor, trained.deploy()
    assert isinstance(ppo, FlowPpo)
    assert isinstance(actor, FlowActor)
    assert isinstance(policy, ZeroSampled)
    raw = 3 * torch.randn(50, 11, generator=torch.Generator().manual_seed(0))
    raw[0] = 1e4  # beyond the normaliser's clip
    if ppo.average is not None:
        assert not torch.equal(ppo.average.last.weight, actor.velocity.last.weight)
        actor.velocity.load_state_dict(ppo.average.state_dict())
    with torch.no_grad():
        unit = actor.to_unit(actor.sample(ppo.normalise(raw), torch.zeros(50, 3)))
        deployed = policy(raw.double())
    torch.testing.assert_close(deployed, unit.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    assert deployed.std() > 0.01


def test_the_average_moves_a_share_of_the_way_after_each_update() -> None:
    made = learner(config(average=0.75, lr=1e-2))
    ppo = made.ppo
    assert isinstance(ppo, FlowPpo)
    assert isinstance(ppo.actor, FlowActor)
    assert ppo.average is not None
    expected = ppo.actor.velocity.last.weight.detach().clone()
    for _ in range(3):
        ppo.update(ppo.rows(ppo.collect()), 0.0)
        expected = 0.75 * expected + 0.25 * ppo.actor.velocity.last.weight.detach()
    torch.testing.assert_close(ppo.average.last.weight.detach(), expected)
    ppo.envs.close()


@pytest.mark.parametrize("main", VERBS)
def test_a_run_is_a_flow_policy_that_loads_and_resumes(
    main: Callable[[list[str]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments(tmp_path, 128, "--score-episodes", "1", "--solver-steps", "3"))
    printed = capsys.readouterr().out
    assert "128 steps: return" in printed
    policy, card = load_policy(tmp_path)
    assert isinstance(policy, FlowPolicy)
    assert (card.kind, card.method) == ("flow", "fpo" if main is fpo_run.main else "fpo++")
    assert policy.config.clip == 10
    assert policy.config.squash == (main is fpo_run.main)
    main(arguments(tmp_path, 128, "--solver-steps", "3"))
    assert "finished already, at step 128" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--draws"):
        main(arguments(tmp_path, 128, "--solver-steps", "3", "--draws", "2"))


def test_an_interrupted_run_continues_with_the_same_weights_and_average(tmp_path: Path) -> None:
    made = learner(replace(config(average=0.5), out=tmp_path))
    made.ppo.update(made.ppo.rows(made.ppo.collect()), 0.0)
    checkpoint.save(tmp_path, made.state())
    again = learner(replace(config(average=0.5), out=tmp_path))
    again.resume(replace(config(average=0.5), out=tmp_path))
    for ours, theirs in zip(made._modules().values(), again._modules().values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert again.ppo.steps == 64
    for one in (made, again):
        one.ppo.envs.close()


@pytest.mark.parametrize("broken", ["observation", "reward"])
def test_a_number_that_is_none_stops_the_run_by_name_and_keeps_the_last_checkpoint(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10**6))
    step = SerialVectorEnv.step

    def poisoned(envs: SerialVectorEnv, actions: Any) -> Any:
        observations, rewards, *rest = step(envs, np.nan_to_num(actions))
        if next(ticks) == 40:  # in the second rollout
            (observations[1] if broken == "observation" else rewards)[1] = np.nan
        return observations, rewards, *rest

    monkeypatch.setattr(SerialVectorEnv, "step", poisoned)
    name = r"raw, tick 9, environment 1, signal 1" if broken == "observation" else r"reward, tick 8, environment 1"
    with pytest.raises(ContractError, match=rf"step 128: {name}.*expected a finite number, got nan"):
        fpo_run.main(arguments(tmp_path, 1000))
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved["step"] == 64
    assert all(bool(values.isfinite().all()) for values in saved["modules"]["actor"].values())
    assert all(bool(values.isfinite().all()) for values in saved["modules"]["moments"].values())


def test_a_teachers_run_begins_as_the_teacher(demos: Path, tmp_path: Path) -> None:
    teacher_run, out = tmp_path / "teacher", tmp_path / "fpo"
    fm_bc.main([
        "--task", "maze-medium", "--demos", str(demos), "--out", str(teacher_run), "--steps", "60", "--batch",
        "16", "--width", "16", "--depth", "2", "--score-episodes", "0",
    ])  # fmt: skip
    teacher, _ = load_policy(teacher_run)
    assert isinstance(teacher, FlowPolicy)
    made = learner(replace(config(), task="maze-medium"), teacher)
    actor = made.ppo.actor
    assert isinstance(actor, FlowActor)
    generator = torch.Generator().manual_seed(0)
    raw = teacher.observation_mean + teacher.observation_std * torch.randn(20, 6, generator=generator)
    noise = torch.randn(20, 2, generator=generator)
    with torch.no_grad():
        wanted = teacher.sample(raw, noise, EULER, uniform_grid(10))
        found = actor.to_unit(actor.sample(made.ppo.normalise(raw), noise)).clamp(-1, 1)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)  # limits of the maze are ±1
        zeros = teacher.sample(raw, torch.zeros(20, 2), EULER, uniform_grid(10))
        torch.testing.assert_close(made.deploy()(raw), zeros, atol=1e-5, rtol=1e-5)
    before: Tensor = made.ppo.moments.mean.clone()
    made.ppo.learn_scale(made.ppo.collect())
    assert torch.equal(made.ppo.moments.mean, before)
    made.ppo.envs.close()

    fpo_run.main([*arguments(out, 64), "--task", "maze-medium", "--init", str(teacher_run)])
    policy, card = load_policy(out)
    assert card.teacher is not None
    assert card.teacher["method"] == "fm-bc"
    assert str(tmp_path) not in str(card.provenance)
    assert torch.equal(policy.observation_mean, teacher.observation_mean)


@pytest.mark.parametrize(("option", "value"), [("average", "1"), ("time-margin", "0.5"), ("perturbation", "-0.1")])
def test_a_number_without_sense_is_refused_by_its_option(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected at least 0 and below .* got {value}"):
        fpo_plus_plus_run.main(arguments(tmp_path, 64, f"--{option}", value))


def test_a_teacher_of_another_task_is_refused(tmp_path: Path) -> None:
    fpo_run.main(arguments(tmp_path / "hopper", 64))
    with pytest.raises(ContractError, match=r"--init .*: expected a flow policy of maze-medium, got .*of hopper"):
        fpo_run.main([*arguments(tmp_path / "b"), "--task", "maze-medium", "--init", str(tmp_path / "hopper")])
