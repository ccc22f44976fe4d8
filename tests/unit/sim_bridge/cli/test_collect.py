"""Collecting: the verb writes a dataset with its card, bit-equal each time, or refuses before it plays."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError, OdeployError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue import TASKS
from odeploy_sim.cli import collect
from odeploy_sim.demonstrations import collection
from odeploy_sim.demonstrations.card import Card, read_card
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.demonstrations.recorder import Size
from odeploy_sim.tasks.env import TaskEnv
from tests.policies import policy_path


@pytest.fixture
def short_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, task in list(TASKS.items()):
        monkeypatch.setitem(TASKS, name, dataclasses.replace(task, horizon=4))


def collected(out: Path, task: str, *options: str) -> Card:
    collect.main([task, *options, "--out", str(out)])
    card = read_card(out)
    assert card is not None
    return card


def test_the_verb_writes_a_dataset_and_prints_its_return_and_success(
    short_tasks: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maze-v0"
    card = collected(out, "maze-medium", "--episodes", "3", "--quality", "noisy:0.5", "--seed", "2")
    assert len(load(str(out), TASKS["maze-medium"]).starts) == 3
    output = capsys.readouterr().out
    assert "3 episodes, 12 ticks, return " in output
    assert "success " in output
    assert card.data_hash in output
    assert f"dataset: {out}" in output.replace("\n", "")


def test_the_card_describes_the_data(short_tasks: None, tmp_path: Path) -> None:
    out = tmp_path / "maze-v0"
    card = collected(out, "maze-medium", "--episodes", "6", "--quality", "noisy:0.5,coverage:0.5", "--seed", "2")
    loaded = load(str(out), TASKS["maze-medium"])
    assert loaded.successes is not None
    assert card.data_hash == loaded.data_hash
    assert (card.episodes, card.transitions) == (6, len(loaded.actions))
    assert (card.return_mean, card.return_std) == pytest.approx((loaded.returns.mean(), loaded.returns.std()))
    assert card.success == loaded.successes.mean()
    assert (card.task, card.quality, card.goals) == ("maze-medium", "noisy:0.5,coverage:0.5", "13 of 26 goals")
    assert (card.seed, card.noise_level, card.successes_only) == (2, 1.0, False)
    assert (card.expert.name, card.expert.kind) == ("MazeExpert", "scripted")


@pytest.mark.parametrize("kind", ["script", "mlp", "flow"])
def test_the_same_command_collects_the_same_dataset_bit_for_bit(
    short_tasks: None, tmp_path: Path, kind: str
) -> None:
    policy = [] if kind == "script" else ["--policy", str(policy_path(tmp_path, TASKS["maze-medium"], kind))]
    options = ["--episodes", "3", "--quality", "noisy:0.1", *policy]
    first, again, other = (
        collected(tmp_path / f"{name}-v0", "maze-medium", *options, "--seed", seed).data_hash
        for name, seed in (("a", "5"), ("b", "5"), ("c", "6"))
    )
    assert first == again != other


def test_a_policy_file_can_be_the_expert(short_tasks: None, tmp_path: Path) -> None:
    file, task = policy_path(tmp_path, TASKS["hopper"]), TASKS["hopper"]
    card = collected(tmp_path / "a-v0", "hopper", "--episodes", "2", "--policy", str(file))
    loaded, policy = load(str(tmp_path / "a-v0"), task), OnnxPolicy.load(file)
    assert card.expert.fingerprint == policy.fingerprint
    assert card.success is None
    for observation, action in zip(loaded.observations, loaded.actions, strict=True):
        expected = policy.infer(observation, np.zeros((1, 0), np.float32))[0]
        np.testing.assert_array_equal(action, np.clip(expected, -1, 1))


def test_noise_level_zero_resets_goals_to_cell_centres(short_tasks: None, tmp_path: Path) -> None:
    calm = collected(tmp_path / "calm-v0", "maze-medium", "--episodes", "4", "--noise", "0")
    assert calm.noise_level == 0
    env = TaskEnv(TASKS["maze-medium"])
    plan = env.env.unwrapped.maze  # type: ignore[attr-defined]
    env.close()
    loaded = load(str(tmp_path / "calm-v0"), TASKS["maze-medium"])
    for goal in loaded.observations[loaded.starts, 4:6]:
        assert np.linalg.norm(np.array(plan.unique_goal_locations) - goal, axis=1).min() < 1e-6


def test_the_default_path_names_task_level_and_quality(
    short_tasks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    collect.main(["maze-medium", "--episodes", "1", "--quality", "noisy:0.5,coverage:0.25"])
    collect.main(["maze-medium", "--episodes", "1", "--noise", "0.5"])
    assert sorted(p.name for p in (tmp_path / "runs" / "demos").iterdir()) == [
        "maze-medium-level-0_5-expert-v0",
        "maze-medium-noisy-0_5-coverage-0_25-v0",
    ]


def test_the_default_size_is_the_papers(
    short_tasks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(collect.SIZES, "maze-medium", Size(9, "transitions"))
    assert collected(tmp_path / "a-v0", "maze-medium").transitions == 12
    assert collected(tmp_path / "b-v0", "maze-medium", "--episodes", "1").episodes == 1
    assert collected(tmp_path / "c-v0", "maze-medium", "--transitions", "5").transitions == 8


def test_with_successes_only_failures_are_dropped_and_counted_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "maze-medium", dataclasses.replace(TASKS["maze-medium"], horizon=60))
    card = collected(tmp_path / "a-v0", "maze-medium", "--episodes", "5", "--successes-only")
    assert (card.success, card.successes_only) == (1.0, True)
    assert card.failures_dropped > 0
    assert f"not included: 0 that broke, {card.failures_dropped} that failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "options", "where"),
    [
        ("maze-medium", ["--episodes", "0"], "--episodes"),
        ("maze-medium", ["--episodes", "-1"], "--episodes"),
        ("maze-medium", ["--transitions", "0"], "--transitions"),
        ("maze-medium", ["--episodes", "1", "--transitions", "1"], "--episodes, --transitions"),
        ("maze-medium", ["--seed", "-1"], "--seed"),
        ("maze-medium", ["--quality", "superb"], "--quality superb"),
        ("maze-medium", ["--quality", "noisy:-1"], "--quality noisy:-1"),
        ("maze-medium", ["--quality", "coverage:2"], "--quality coverage:2"),
        ("maze-medium", ["--noise", "9"], "--noise 9"),
        ("maze-medium", ["--noise", "nan"], "--noise nan"),
        ("hopper", ["--successes-only"], "--successes-only"),
    ],
)
def test_invalid_options_are_refused_by_name(
    tmp_path: Path, task: str, options: list[str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "gather", never)
    with pytest.raises(UsageError) as raised:
        collect.main([task, "--out", str(tmp_path / "a-v0"), *options])
    assert raised.value.where == where
    assert list(tmp_path.iterdir()) == []


def never(*_: object) -> None:
    raise AssertionError("collecting began")


def test_a_coverage_of_a_task_without_goals_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "gather", never)
    options = ["--policy", str(policy_path(tmp_path, TASKS["hopper"])), "--quality", "coverage:0.5"]
    with pytest.raises(UsageError, match="hopper has no goals"):
        collect.main(["hopper", *options, "--out", str(tmp_path / "a-v0")])


def test_a_policy_of_another_task_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "gather", never)
    file = policy_path(tmp_path, TASKS["hopper"])
    with pytest.raises(ContractError, match="observation"):
        collect.main(["maze-medium", "--policy", str(file), "--out", str(tmp_path / "a-v0")])


@pytest.mark.parametrize("name", ["taken-v0", "unversioned", "dot.ted-v0"])
def test_an_invalid_path_is_refused_before_collecting(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "gather", never)
    (tmp_path / "taken-v0").mkdir()
    with pytest.raises(UsageError, match=f"--out .*{name}"):
        collect.main(["maze-medium", "--out", str(tmp_path / name)])


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="see `odeploy tasks`"):
        collect.main(["labyrinth", "--out", str(tmp_path / "a-v0")])


def test_a_failed_or_interrupted_collection_leaves_nothing(
    short_tasks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    impossible = ["--episodes", "1", "--successes-only", "--quality", "noisy:5"]
    monkeypatch.setitem(TASKS, "maze-medium", dataclasses.replace(TASKS["maze-medium"], horizon=1))
    with pytest.raises(OdeployError, match="in a row to drop"):
        collect.main(["maze-medium", *impossible, "--out", str(tmp_path / "a-v0")])
    monkeypatch.setattr("minari.create_dataset_from_buffers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect.main(["maze-medium", "--episodes", "1", "--out", str(tmp_path / "a-v0")])
    assert list(tmp_path.iterdir()) == []
