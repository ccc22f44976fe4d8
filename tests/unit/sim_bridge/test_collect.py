"""Collecting: what was executed is what is recorded, and the seed decides all of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import ContractError, MissingError, UsageError
from runtime.policy_file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, Manifest, Noise, seal
from runtime.typed_json import to_json
from sim_bridge import collect
from sim_bridge.catalogue import MAZE_MEDIUM, TASKS
from sim_bridge.collect import record
from sim_bridge.demonstrations import Episode, load
from sim_bridge.experts import scripted
from sim_bridge.task import TaskEnv
from tests.unit.runtime.fakes import manifest

SHORT_MAZE = dataclasses.replace(MAZE_MEDIUM, horizon=8)


@pytest.fixture(scope="module")
def short_maze() -> Iterator[TaskEnv]:
    made = TaskEnv(SHORT_MAZE)
    yield made
    made.close()


@pytest.fixture
def short_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, task in list(TASKS.items()):
        monkeypatch.setitem(TASKS, name, dataclasses.replace(task, horizon=4))


def played(env: TaskEnv, seed: int = 3, noise: float = 0.5, noise_seed: int = 0) -> Episode:
    return record(env, scripted(env), seed, noise, np.random.default_rng(noise_seed))


def policy(path: Path, weights: Any, **changes: Any) -> Path:
    """A policy file of a linear map from the maze's observations to `horizon` actions."""
    fields = {
        "kind": "mlp",
        "sampler": None,
        "noise": Noise("none"),
        "golden": (),
        "observation": MAZE_MEDIUM.observation,
        "action": MAZE_MEDIUM.action,
    }
    said: Manifest = manifest(**(fields | changes))
    shape = numpy_helper.from_array(np.array([-1, said.horizon, 2], np.int64), "shape")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["observation", "w"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["action"]),
        ],
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", said.horizon, 2])],
        [numpy_helper.from_array(np.asarray(weights, np.float32), "w"), shape],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    helper.set_model_props(model, {MANIFEST_KEY: to_json(said), FINGERPRINT_KEY: NO_FINGERPRINT})
    path.write_bytes(seal(model.SerializeToString(), "test"))
    return path


def test_an_episode_has_one_observation_more_than_actions_and_one_reward_each(short_maze: TaskEnv) -> None:
    episode = played(short_maze)
    assert len(episode.observations) == 9
    assert episode.actions.shape == (8, 2)
    assert episode.rewards.shape == (8,)
    assert (episode.seed, episode.terminated) == (3, False)


def test_recorded_actions_are_the_executed_ones_so_that_replaying_them_gives_the_same_observations(
    short_maze: TaskEnv,
) -> None:
    episode = played(short_maze, noise=2.0)
    assert (np.abs(episode.actions) <= 1).all()
    assert (np.abs(episode.actions) == 1).any()
    np.testing.assert_array_equal(short_maze.reset(episode.seed), SHORT_MAZE.flatten(episode.observations[0]))
    for action, after, reward in zip(episode.actions, episode.observations[1:], episode.rewards, strict=True):
        step = short_maze.step(action)
        np.testing.assert_array_equal(step.observation, SHORT_MAZE.flatten(after))
        assert step.reward == reward


def test_without_noise_the_expert_alone_is_recorded(short_maze: TaskEnv) -> None:
    episode, expert = played(short_maze, noise=0.0), scripted(short_maze)
    for raw, action in zip(episode.observations, episode.actions, strict=False):
        np.testing.assert_array_equal(action, expert(SHORT_MAZE.flatten(raw)))


def test_seed_and_noise_decide_everything(short_maze: TaskEnv) -> None:
    first, again = played(short_maze), played(short_maze)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.actions, played(short_maze, noise_seed=1).actions)
    assert not np.array_equal(first.actions, played(short_maze, seed=4).actions)


def test_recorded_observations_are_copies_that_later_ticks_do_not_change(short_maze: TaskEnv) -> None:
    episode = played(short_maze)
    flat = np.array([SHORT_MAZE.flatten(raw) for raw in episode.observations])
    assert len(np.unique(flat, axis=0)) == len(flat)


def test_the_verb_writes_a_set_and_says_what_it_was_worth(
    short_tasks: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maze-v0"
    collect.main(["maze-medium", "--episodes", "3", "--noise", "0.5", "--seed", "2", "--out", str(out)])
    assert len(load(str(out), TASKS["maze-medium"]).starts) == 3
    said = capsys.readouterr().out
    assert "3 episodes, 12 ticks, return " in said
    assert "success " in said
    assert f"dataset: {out}" in said.replace("\n", "")


def test_the_same_seed_collects_the_same_set(short_tasks: None, tmp_path: Path) -> None:
    hashes = []
    for name, seed in (("a-v0", "5"), ("b-v0", "5"), ("c-v0", "6")):
        collect.main(
            ["maze-medium", "--episodes", "2", "--noise", "0.1", "--seed", seed, "--out", str(tmp_path / name)]
        )
        hashes.append(load(str(tmp_path / name), TASKS["maze-medium"]).data_hash)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    "options",
    [["--episodes", "0"], ["--episodes", "-1"], ["--noise", "-0.1"], ["--noise", "nan"], ["--noise", "inf"]],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(UsageError, match="--episodes, --noise"):
        collect.main(["maze-medium", "--out", str(tmp_path / "a-v0"), *options])
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_taken_or_has_no_version_is_refused_before_anything_is_collected(tmp_path: Path) -> None:
    (tmp_path / "taken-v0").mkdir()
    for name in ("taken-v0", "unversioned"):
        with pytest.raises(UsageError, match=f"--out .*{name}"):
            collect.main(["maze-medium", "--episodes", "100000", "--out", str(tmp_path / name)])


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="see `odeploy tasks`"):
        collect.main(["labyrinth", "--out", str(tmp_path / "a-v0")])


def test_a_task_without_a_scripted_expert_wants_a_policy(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="--policy"):
        collect.main(["hopper", "--episodes", "1", "--out", str(tmp_path / "a-v0")])


def test_a_policy_file_may_be_the_expert(short_tasks: None, tmp_path: Path) -> None:
    weights = np.zeros((6, 2))
    weights[4, 0], weights[5, 1] = 0.25, -0.125
    file = policy(tmp_path / "linear.onnx", weights)
    collect.main(["maze-medium", "--episodes", "2", "--policy", str(file), "--out", str(tmp_path / "a-v0")])
    loaded = load(str(tmp_path / "a-v0"), TASKS["maze-medium"])
    np.testing.assert_allclose(loaded.actions, np.clip(loaded.observations @ weights, -1, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observation": MAZE_MEDIUM.observation[::-1]}, "same names, another order"),
        ({"action": MAZE_MEDIUM.action[::-1]}, "same names, another order"),
        ({"horizon": 2}, "expected one action per inference, got 2"),
    ],
)
def test_a_policy_file_that_does_not_fit_the_task_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    file = policy(tmp_path / "linear.onnx", np.zeros((6, 2 * changes.get("horizon", 1))), **changes)
    with pytest.raises(ContractError, match=said):
        collect.main(["maze-medium", "--policy", str(file), "--out", str(tmp_path / "a-v0")])
