"""Run folders: the same run continues, another is refused with the differing field, damage is named."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import ContractError, FormatError, MissingError, OdeployError, UsageError
from odeploy_runtime.typed_json import encode
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.policies.student import StudentConfig, StudentPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.algorithm_version import algorithm_version
from odeploy_train.runs.folder import CARD, RunCard, begin, load_policy, new_card, read_card


@dataclass(frozen=True)
class Options:
    """Options of a training command."""

    out: Path
    demos: str = "maze/expert-v0"
    steps: int = 10
    lr: float = 1e-3
    seed: int = 4
    threads: int = 1


SMALL = FlowConfig(6, 2, width=8, depth=1, time_features=2)
TEACHER = {"task": "maze-medium", "weights_hash": "f00"}


def card(options: Options, policy: FlowConfig | StudentConfig = SMALL) -> RunCard:
    teacher = TEACHER if isinstance(policy, StudentConfig) else None
    method = "fm-bc" if teacher is None else "distill"
    return new_card(method, "maze-medium", "abc", options, policy, teacher)  # type: ignore[arg-type]


def finish(folder: Path, policy: FlowPolicy | StudentPolicy, step: int = 10) -> None:
    checkpoint.save(folder, {"step": step, "policy": policy.state_dict()})


def test_a_card_survives_its_json(tmp_path: Path) -> None:
    made = card(Options(tmp_path / "run"))
    begin(tmp_path / "run", made)
    assert read_card(tmp_path / "run") == made
    assert (made.method, made.kind, made.seed, made.steps) == ("fm-bc", "flow", 4, 10)
    assert made.version == algorithm_version("fm-bc")
    assert made.config == {"steps": 10, "lr": 1e-3, "seed": 4}


def test_provenance_contains_no_path_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "demos-v0").mkdir()
    made = card(Options(tmp_path / "run", demos=str(tmp_path / "demos-v0")), StudentConfig(6, 2))
    assert made.demos == str(tmp_path / "demos-v0")
    text = json.dumps(made.provenance)
    assert str(tmp_path) not in text
    assert not any(part in text for part in ("/tmp", "/home", "/root", "demos-v0"))
    assert made.provenance["data_hash"] == "abc"
    assert made.provenance["teacher"] == TEACHER


def test_a_relative_folder_of_demonstrations_is_recorded_as_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demos-v0").mkdir()
    monkeypatch.chdir(tmp_path)
    assert card(Options(tmp_path, demos="demos-v0")).demos == str(tmp_path / "demos-v0")
    assert card(Options(tmp_path, demos="maze/expert-v0")).demos == "maze/expert-v0"


def test_the_same_run_may_continue_from_another_folder_with_other_versions(tmp_path: Path) -> None:
    first = card(Options(tmp_path / "run"))
    begin(tmp_path / "run", first)
    elsewhere = card(Options(tmp_path / "moved", demos="other/copy-v0", threads=2))
    begin(tmp_path / "run", dataclasses.replace(elsewhere, versions={"torch": "9"}, git="beef"))
    assert read_card(tmp_path / "run") == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"steps": 10, "lr": 0.5, "seed": 4}}, "--lr: expected 0.001 as in the run.*got 0.5"),
        ({"config": {"steps": 10, "lr": 1e-3, "seed": 5}}, "--seed: expected 4 .*got 5"),
        ({"data_hash": "xyz"}, "data_hash: expected 'abc' .*got 'xyz'"),
        ({"task": "hopper"}, "task: expected 'maze-medium' .*got 'hopper'"),
        ({"policy": encode(FlowConfig(6, 2))}, "policy: expected {'observation_size': 6"),
        ({"teacher": TEACHER}, "teacher: expected None .*got 'f00'"),
    ],
)
def test_another_run_in_the_folder_is_refused_with_the_difference(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    made = card(Options(tmp_path / "run"))
    begin(tmp_path / "run", made)
    with pytest.raises(UsageError, match=message):
        begin(tmp_path / "run", dataclasses.replace(made, **change))  # type: ignore[arg-type]
    assert read_card(tmp_path / "run") == made


def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(UsageError, match=r"such as thesis\.tex"):
        begin(tmp_path, card(Options(tmp_path)))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="expected a folder that can be written, got File exists"):
        begin(tmp_path / "run", card(Options(tmp_path)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"method": "fm-bc"}', '{"method": "sorcery"}'])
def test_a_damaged_card_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD).write_text(text)
    with pytest.raises(FormatError) as raised:
        read_card(tmp_path)
    assert raised.value.where.startswith(str(tmp_path / CARD))
    assert raised.value.remedy == "train into another folder"


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected the card of a training run, got No such file or directory"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("policy", "config"),
    [
        (FlowPolicy(SMALL), SMALL),
        (StudentPolicy(StudentConfig(6, 2, width=8, depth=1)), StudentConfig(6, 2, width=8, depth=1)),
    ],
    ids=["flow", "mlp"],
)
def test_a_finished_runs_policy_is_loaded(
    tmp_path: Path, policy: FlowPolicy | StudentPolicy, config: FlowConfig | StudentConfig
) -> None:
    policy.observation_mean += 3
    made = card(Options(tmp_path), config)
    begin(tmp_path, made)
    finish(tmp_path, policy)
    loaded, read = load_policy(tmp_path)
    assert type(loaded) is type(policy)
    assert not loaded.training
    assert read == made
    for name, tensor in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_last_policy_of_a_run_that_keeps_the_best_is_loaded_when_asked_for(tmp_path: Path) -> None:
    best, last = FlowPolicy(SMALL), FlowPolicy(SMALL)
    last.observation_mean += 3
    begin(tmp_path, card(Options(tmp_path)))
    finish(tmp_path, best)
    with pytest.raises(MissingError, match="expected the last policy beside the best one, got one policy"):
        load_policy(tmp_path, last=True)
    checkpoint.save(tmp_path, {"step": 10, "policy": best.state_dict(), "last": last.state_dict()})
    for asked, policy in ((False, best), (True, last)):
        loaded, _ = load_policy(tmp_path, last=asked)
        assert torch.equal(loaded.state_dict()["observation_mean"], policy.observation_mean)


def test_the_policy_of_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    begin(tmp_path, card(Options(tmp_path)))
    with pytest.raises(MissingError, match=r"checkpoint.pt: expected a checkpoint, got no such file; repeat"):
        load_policy(tmp_path)
    finish(tmp_path, FlowPolicy(SMALL), step=7)
    with pytest.raises(ContractError, match="expected a finished run of 10 steps, got one interrupted at step 7"):
        load_policy(tmp_path)


def test_weights_that_do_not_fit_the_card_are_refused(tmp_path: Path) -> None:
    begin(tmp_path, card(Options(tmp_path)))
    finish(tmp_path, FlowPolicy(FlowConfig(6, 2, width=9)))
    with pytest.raises(OdeployError, match="got a file that does not load") as raised:
        load_policy(tmp_path)
    assert raised.value.where == str(tmp_path / checkpoint.CHECKPOINT)


def test_a_run_of_a_task_that_has_changed_is_not_continued(tmp_path: Path) -> None:
    made, folder = card(Options(tmp_path / "run")), tmp_path / "run"
    begin(folder, dataclasses.replace(made, task_digest="0123"))
    begin(folder, dataclasses.replace(made, task_digest="0123"))
    with pytest.raises(UsageError, match="task_digest: expected '0123' as in the run that is there, got '4567'"):
        begin(folder, dataclasses.replace(made, task_digest="4567"))


def test_a_run_from_before_digests_is_continued(tmp_path: Path) -> None:
    made = card(Options(tmp_path / "run"))
    begin(tmp_path / "run", made)
    begin(tmp_path / "run", dataclasses.replace(made, task_digest="4567"))
