"""Commands that train a flow, small: continuation, start from a teacher, learned reward, stop at a NaN."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.vector_env import SerialVectorEnv
from odeploy_train.behaviour_cloning import fm_bc
from odeploy_train.flow_rl import dppo, fm_a2c, fm_ppo, fpo_run
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

TINY = (
    "--task", "hopper", "--envs", "2", "--ticks", "32", "--batch", "32", "--epochs", "2", "--width", "16",
    "--depth", "2", "--workers", "0", "--score-every", "64", "--score-episodes", "0",
)  # fmt: skip
Main = Callable[[list[str]], None]
VERBS: dict[str, Main] = {
    "fpo": fpo_run.main,
    "fpo++": fpo_run.main_plus_plus,
    "dppo": dppo.main,
    "fm-ppo": fm_ppo.main,
    "fm-a2c": fm_a2c.main,
}
every_verb = pytest.mark.parametrize("verb", VERBS)


def arguments(out: Path, steps: int = 128, *more: str) -> list[str]:
    return [*TINY, "--out", str(out), "--steps", str(steps), *more]


@every_verb
def test_a_run_is_loaded_as_a_flow_policy_and_a_finished_one_is_reported(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = VERBS[verb]
    main(arguments(tmp_path, 128, "--score-episodes", "1", "--solver-steps", "3"))
    printed = capsys.readouterr().out
    assert "128 steps: return" in printed
    policy, card = load_policy(tmp_path)
    assert isinstance(policy, FlowPolicy)
    assert (card.kind, card.method) == ("flow", verb)
    assert policy.config.clip == 10
    assert policy.config.squash == (verb != "fpo++")
    main(arguments(tmp_path, 128, "--solver-steps", "3"))
    assert "finished already, at step 128" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--solver-steps: expected 3"):
        main(arguments(tmp_path, 128, "--solver-steps", "2"))


@every_verb
@pytest.mark.parametrize("broken", ["observation", "reward"])
def test_a_nan_from_the_simulation_stops_the_run_and_the_last_checkpoint_stays(
    broken: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        VERBS[verb](arguments(tmp_path, 1000, "--solver-steps", "3", "--critic-warmup", "0"))
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved["step"] == 64
    assert all(bool(values.isfinite().all()) for values in saved["modules"]["actor"].values())
    assert all(bool(values.isfinite().all()) for values in saved["modules"]["moments"].values())


@pytest.fixture(scope="module")
def teacher_run(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short finished run of `train fm-bc`."""
    run = tmp_path_factory.mktemp("teacher") / "run"
    clone(demos, run)
    return run


@every_verb
def test_with_demonstrations_the_teachers_reward_replaces_the_tasks(
    verb: str, demos: Path, tmp_path: Path
) -> None:
    """With a teacher of one neuron the reward is nearly the bonus of 20; the maze's own reward is 0."""
    tiny = ["--reward.teacher-width", "1", "--reward.teacher-depth", "1", "--reward.pretrain", "2"]
    VERBS[verb]([
        *arguments(tmp_path, 64, "--solver-steps", "3"), "--task", "maze-medium", "--demos", str(demos), *tiny,
        "--reward.bonus", "20",
    ])  # fmt: skip
    figures = EventAccumulator(str(tmp_path)).Reload()
    assert figures.Scalars("discriminator/reward")[0].value == pytest.approx(20, abs=5)
    assert figures.Scalars("wall/sampler_s")
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert "discriminator" in saved["modules"]
    _, card = load_policy(tmp_path)
    assert card.data_hash == load(str(demos), get("maze-medium")).data_hash


def clone(demos: Path, run: Path, *more: str) -> None:
    fm_bc.main([
        "--task", "maze-medium", "--demos", str(demos), "--out", str(run), "--steps", "60", "--batch", "16",
        "--width", "16", "--depth", "2", "--score-episodes", "0", *more,
    ])  # fmt: skip


@every_verb
def test_a_run_that_starts_from_a_teacher_records_it_and_keeps_its_normaliser(
    verb: str, teacher_run: Path, tmp_path: Path
) -> None:
    teacher, _ = load_policy(teacher_run)
    assert isinstance(teacher, FlowPolicy)
    options = arguments(tmp_path, 128, "--solver-steps", "3", "--critic-warmup", "1")
    VERBS[verb]([*options, "--task", "maze-medium", "--init", str(teacher_run)])
    policy, card = load_policy(tmp_path)
    assert card.teacher is not None
    assert card.teacher["method"] == "fm-bc"
    assert str(teacher_run.parent) not in str(card.provenance)
    assert isinstance(policy, FlowPolicy)
    assert torch.equal(policy.observation_mean, teacher.observation_mean)
    assert not torch.equal(policy.velocity.last.weight, teacher.velocity.last.weight)


def first_update(run: Path) -> int:
    """Return the step of the first update in a run's curves."""
    figures = EventAccumulator(str(run)).Reload()
    return min(int(figures.Scalars(tag)[0].step) for tag in figures.Tags()["scalars"] if tag.startswith("update/"))


@every_verb
def test_the_first_rollout_only_fills_the_normaliser_unless_a_teacher_has_one(
    verb: str, teacher_run: Path, demos: Path, tmp_path: Path
) -> None:
    """A rollout is 64 steps."""
    tiny = ("--solver-steps", "3", "--task", "maze-medium")
    teacher = ("--reward.teacher-width", "1", "--reward.teacher-depth", "1", "--reward.pretrain", "2")
    runs = {
        "scratch": (128, ()),
        "init": (64, ("--init", str(teacher_run))),
        "demos": (64, ("--demos", str(demos), *teacher)),
    }
    for name, (step, more) in runs.items():
        VERBS[verb](arguments(tmp_path / name, 128, *tiny, *more))
        assert first_update(tmp_path / name) == step, name


def test_the_first_rollout_is_no_iteration_of_the_critics_warm_up(tmp_path: Path) -> None:
    velocities = []
    for steps in (64, 128, 192):
        run = tmp_path / str(steps)
        fm_a2c.main(arguments(run, steps, "--solver-steps", "3", "--critic-warmup", "1"))
        saved = checkpoint.load(run)
        assert saved is not None
        velocities.append(saved["modules"]["actor"]["velocity.last.weight"])
    assert torch.equal(velocities[0], velocities[1])
    assert not torch.equal(velocities[1], velocities[2])


def test_a_run_of_critic_warm_up_alone_leaves_the_teacher_unchanged(teacher_run: Path, tmp_path: Path) -> None:
    teacher, _ = load_policy(teacher_run)
    options = arguments(tmp_path, 128, "--solver-steps", "3", "--critic-warmup", "2")
    fm_ppo.main([*options, "--task", "maze-medium", "--init", str(teacher_run)])
    policy, _ = load_policy(tmp_path)
    pairs = zip(policy.parameters(), teacher.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize(("option", "value"), [("average", "1"), ("critic-warmup", "-1")])
def test_an_invalid_number_is_refused_by_its_option(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected at least 0 and below .* got {value}"):
        fm_ppo.main(arguments(tmp_path, 64, f"--{option}", value))


@pytest.mark.parametrize("value", ["0", "nan"])
def test_an_invalid_kl_limit_is_refused_and_nothing_is_written(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--kl-limit: expected a number above 0, got {value}"):
        fm_ppo.main(arguments(tmp_path / "run", 64, "--kl-limit", value))
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_task_is_refused(tmp_path: Path) -> None:
    fpo_run.main(arguments(tmp_path / "hopper", 64))
    with pytest.raises(
        ContractError, match=r"--init .*: expected a flow policy with the signals of maze-medium, got .*of hopper"
    ):
        fpo_run.main([*arguments(tmp_path / "b"), "--task", "maze-medium", "--init", str(tmp_path / "hopper")])


def test_a_teacher_of_chunks_is_refused(demos: Path, tmp_path: Path) -> None:
    clone(demos, tmp_path / "teacher", "--horizon", "2")
    with pytest.raises(ContractError, match=r"expected a flow of one action at a time, got one of 2 in a chunk"):
        fpo_run.main([*arguments(tmp_path / "b"), "--task", "maze-medium", "--init", str(tmp_path / "teacher")])
