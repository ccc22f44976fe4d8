"""`odeploy train fpo` and `fpo++`, tiny: they train, continue, begin from a teacher, stop at what is no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.errors import ContractError, UsageError
from sim_bridge.vector_env import SerialVectorEnv
from train import checkpoint, fm_bc, fpo_plus_plus_run, fpo_run
from train.policies import FlowPolicy
from train.run import load_policy

TINY = (
    "--task", "hopper", "--envs", "2", "--ticks", "32", "--batch", "32", "--epochs", "2", "--width", "16",
    "--depth", "2", "--workers", "0", "--score-every", "64", "--score-episodes", "0",
)  # fmt: skip
VERBS: list[Callable[[list[str]], None]] = [fpo_run.main, fpo_plus_plus_run.main]


def arguments(out: Path, steps: int = 128, *more: str) -> list[str]:
    return [*TINY, "--out", str(out), "--steps", str(steps), *more]


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


def test_a_run_that_begins_from_a_teacher_says_so_and_keeps_its_normaliser(demos: Path, tmp_path: Path) -> None:
    teacher_run, out = tmp_path / "teacher", tmp_path / "fpo"
    fm_bc.main([
        "--task", "maze-medium", "--demos", str(demos), "--out", str(teacher_run), "--steps", "60", "--batch",
        "16", "--width", "16", "--depth", "2", "--score-episodes", "0",
    ])  # fmt: skip
    teacher, _ = load_policy(teacher_run)
    assert isinstance(teacher, FlowPolicy)
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
