"""Demonstrations: saved data are loaded bit for bit, or refused with the place that does not match."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError, UsageError
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.card import Card, ExpertCard, read_card
from odeploy_sim.demonstrations.dataset import Episode, check_free, data_hash, flatten, load, save, stored_task
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.recorder import record
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task

SHORT_MAZE = dataclasses.replace(MAZE_MEDIUM, horizon=6)
SHORT_HOPPER = dataclasses.replace(HOPPER, horizon=5)


@pytest.fixture(scope="module")
def short_maze() -> Iterator[TaskEnv]:
    made = TaskEnv(SHORT_MAZE)
    yield made
    made.close()


@pytest.fixture(scope="module")
def episodes(short_maze: TaskEnv) -> list[Episode]:
    noise, expert = np.random.default_rng(0), demonstrator(short_maze, None, 0)
    return [played(short_maze, expert, seed, noise) for seed in (3, 4)]


@pytest.fixture(scope="module")
def saved(short_maze: TaskEnv, episodes: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "maze-v0"
    save(path, short_maze, episodes, "expert", "for tests")
    return path


def played(env: TaskEnv, expert: Demonstrator, seed: int, noise: np.random.Generator) -> Episode:
    episode = record(env, expert, 0, seed, 0.5, noise)
    assert episode is not None
    return episode


CARD = Card(
    task="maze-medium",
    noise_level=1.0,
    quality="noisy:0.5",
    goals="all",
    successes_only=False,
    episodes=2,
    transitions=12,
    return_mean=0.5,
    return_std=0.25,
    success=0.5,
    failures_dropped=0,
    invalid_dropped=1,
    seed=3,
    expert=ExpertCard("scripted", "MazeExpert", "0" * 64),
    data_hash="1" * 64,
    versions={"python": "3.11"},
    processor="abacus",
)


def spoilt(episode: Episode, **changes: Any) -> Episode:
    return dataclasses.replace(episode, **changes)


def flat(task: Task, episode: Episode) -> Any:
    """Return the observations with an action, flattened one by one."""
    return np.stack([task.flatten(raw) for raw in episode.observations])[:-1]


def test_saved_data_are_loaded_bit_for_bit(saved: Path, episodes: list[Episode]) -> None:
    loaded = load(str(saved), SHORT_MAZE)
    np.testing.assert_array_equal(loaded.observations, np.concatenate([flat(SHORT_MAZE, e) for e in episodes]))
    np.testing.assert_array_equal(loaded.actions, np.concatenate([e.actions for e in episodes]))
    assert loaded.observations.dtype == loaded.actions.dtype == np.float32
    assert loaded.starts.tolist() == [0, len(episodes[0].actions)]


def test_the_data_hash_is_the_sha256_of_observations_and_actions(saved: Path) -> None:
    loaded = load(str(saved), SHORT_MAZE)
    data = loaded.observations.tobytes() + loaded.actions.tobytes()
    assert loaded.data_hash == hashlib.sha256(data).hexdigest()


def test_a_saved_dataset_is_a_minari_dataset_with_rewards_ends_and_success(
    saved: Path, episodes: list[Episode]
) -> None:
    dataset = minari.MinariDataset(saved / "data")
    assert dataset.total_episodes == 2
    for stored, episode in zip(dataset.iterate_episodes(), episodes, strict=True):
        np.testing.assert_allclose(stored.rewards, episode.rewards)
        ends = stored.terminations[-1], stored.truncations[-1]
        assert ends == (episode.terminated, not episode.terminated)
        assert not stored.terminations[:-1].any()
        assert not stored.truncations[:-1].any()
        assert stored.infos is not None
        assert stored.infos["success"][-1] == episode.success
        assert isinstance(stored.observations, Mapping)
    assert dataset.storage.metadata["odeploy_task"] == "maze-medium"


def test_observations_without_a_dictionary_are_saved_too(tmp_path: Path) -> None:
    env = TaskEnv(SHORT_HOPPER)
    still = Demonstrator(CARD.expert, lambda _: lambda _: np.zeros(3, np.float32))
    episode = played(env, still, 1, np.random.default_rng(1))
    save(tmp_path / "hopper-v0", env, [episode], "author", "for tests")
    env.close()
    loaded = load(str(tmp_path / "hopper-v0"), SHORT_HOPPER)
    np.testing.assert_array_equal(loaded.observations, flat(SHORT_HOPPER, episode))
    np.testing.assert_array_equal(loaded.actions, episode.actions)
    assert loaded.successes is None


def test_minaris_store_setting_is_restored(
    short_maze: TaskEnv, episodes: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/elsewhere")
    save(tmp_path / "a-v0", short_maze, episodes[:1], "expert", "for tests")
    assert os.environ["MINARI_DATASETS_PATH"] == "/elsewhere"
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    save(tmp_path / "b-v0", short_maze, episodes[:1], "expert", "for tests")
    assert "MINARI_DATASETS_PATH" not in os.environ


def test_a_failed_save_leaves_nothing(
    short_maze: TaskEnv, episodes: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("minari.create_dataset_from_buffers", full)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/elsewhere")
    with pytest.raises(UsageError, match="got No space left on device; free some space"):
        save(tmp_path / "a-v0", short_maze, episodes, "expert", "for tests")
    assert list(tmp_path.iterdir()) == []
    assert os.environ["MINARI_DATASETS_PATH"] == "/elsewhere"


def test_returns_and_successes_are_those_of_each_episode(saved: Path, episodes: list[Episode]) -> None:
    loaded = load(str(saved), SHORT_MAZE)
    np.testing.assert_allclose(loaded.returns, [e.rewards.sum() for e in episodes])
    assert loaded.successes is not None
    assert loaded.successes.tolist() == [e.success for e in episodes]
    assert loaded.lengths.tolist() == [len(e.actions) for e in episodes]


def test_the_hash_before_saving_is_the_hash_after_loading(saved: Path, episodes: list[Episode]) -> None:
    assert data_hash(*flatten(SHORT_MAZE, episodes)) == load(str(saved), SHORT_MAZE).data_hash


def test_a_card_is_saved_next_to_the_data_and_read_back(
    short_maze: TaskEnv, episodes: list[Episode], tmp_path: Path
) -> None:
    path = tmp_path / "maze-v0"
    save(path, short_maze, episodes, "expert", "for tests", CARD)
    assert sorted(p.name for p in path.iterdir()) == ["card.json", "data"]
    assert read_card(path) == CARD


def test_a_dataset_without_a_card_still_has_its_task(saved: Path) -> None:
    assert read_card(saved) is None
    stored = stored_task(str(saved))
    assert stored is not None
    assert (stored.name, stored.digest) == ("maze-medium", SHORT_MAZE.digest)


class Deep(gymnasium.Env[Any, Any]):
    """Environment with nested dictionaries, as in the kitchen, and scalars, as in dm_control."""

    box = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    observation_space = gymnasium.spaces.Dict(
        {
            "observation": box,
            "height": gymnasium.spaces.Box(-np.inf, np.inf, (), np.float64),
            "goal": gymnasium.spaces.Dict({"kettle": box, "doors": gymnasium.spaces.Dict({"left": box})}),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.sensed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.sensed(), 1.0, False, False, {"success": True}

    def sensed(self) -> dict[str, Any]:
        draw = self.np_random.normal
        goal = {"kettle": draw(size=2), "doors": {"left": draw(size=2)}}
        return {"observation": draw(size=2), "height": np.asarray(draw()), "goal": goal}


def test_nested_dictionaries_and_scalars_are_saved_too(tmp_path: Path) -> None:
    task = dataclasses.replace(
        SHORT_MAZE,
        gym_id="Deep-v0",
        entry_point=lambda **_: Deep(),  # type: ignore[arg-type]
        make_arguments={},
        observation=MAZE_MEDIUM.observation[:3],
        observation_keys=("observation", "height"),
    )
    env = TaskEnv(task)
    still = Demonstrator(CARD.expert, lambda _: lambda _: np.zeros(2, np.float32))
    episode = played(env, still, 1, np.random.default_rng(1))
    env.env.unwrapped.spec = None  # it has no registered name that Minari could look up
    save(tmp_path / "deep-v0", env, [episode], "author", "for tests")
    loaded = load(str(tmp_path / "deep-v0"), task)
    np.testing.assert_array_equal(loaded.observations, flat(task, episode))
    stored = next(iter(minari.MinariDataset(tmp_path / "deep-v0" / "data").iterate_episodes()))
    assert isinstance(stored.observations, Mapping)
    left: list[Any] = [raw["goal"]["doors"]["left"] for raw in episode.observations]  # type: ignore[call-overload]
    np.testing.assert_array_equal(stored.observations["goal"]["doors"]["left"], left)


def test_a_saved_dataset_is_alone_in_its_folder(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["maze-v0"]


def test_an_existing_dataset_is_not_overwritten(saved: Path, short_maze: TaskEnv, episodes: list[Episode]) -> None:
    with pytest.raises(UsageError) as raised:
        save(saved, short_maze, episodes, "expert", "for tests")
    assert raised.value.got == "a dataset that exists"
    assert raised.value.remedy == "remove it, or write maze-v1"


@pytest.mark.parametrize(
    "name", ["maze", "maze-v", "maze-vx", "-v0", "maze-v1.5", "maze-v-1", "maze 2-v0", "noisy0.5-v0"]
)
def test_a_name_invalid_for_minari_is_refused_before_collecting(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a folder name of letters, digits, - and _ that ends in a version"):
        check_free(tmp_path / name)


@pytest.mark.parametrize("name", ["maze-v0", "maze-medium-expert-v12"])
def test_a_free_name_with_a_version_is_accepted(tmp_path: Path, name: str) -> None:
    check_free(tmp_path / name)


def test_a_path_that_cannot_be_created_is_refused_before_collecting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=f"got {tmp_path}/file, where none can"):
        check_free(tmp_path / "file" / "sets" / "maze-v0")


def test_a_dataset_of_another_task_is_refused_with_both_names(saved: Path) -> None:
    with pytest.raises(ContractError, match="expected episodes of task hopper, got episodes of maze-medium"):
        load(str(saved), HOPPER)


def test_a_dataset_of_a_task_that_has_changed_is_refused(saved: Path) -> None:
    with pytest.raises(ContractError, match=f"digest {SHORT_MAZE.digest}, as in the file, got digest"):
        load(str(saved), MAZE_MEDIUM)


def test_a_dataset_of_other_sizes_is_refused_with_both_sizes(
    short_maze: TaskEnv, episodes: list[Episode], tmp_path: Path
) -> None:
    path = tmp_path / "maze-v0"
    save(path, short_maze, episodes, "expert", "for tests")
    minari.MinariDataset(path / "data").storage.update_metadata({"odeploy_task_digest": ""})  # of an older version
    smaller = dataclasses.replace(SHORT_MAZE, action=SHORT_MAZE.action[:1], safe_action=())
    with pytest.raises(ContractError) as raised:
        load(str(path), smaller)
    assert "6 observations and 1 actions" in raised.value.expected
    assert raised.value.got == "6 observations and 2 actions"


def test_a_dataset_without_a_key_of_the_task_is_refused_with_that_key(saved: Path) -> None:
    other = dataclasses.replace(SHORT_MAZE, observation_keys=("observation", "map"))
    with pytest.raises(ContractError, match="observations without the key 'map'"):
        load(str(saved), other)


def test_a_non_finite_value_is_refused_with_its_row_and_signal(
    short_maze: TaskEnv, episodes: list[Episode], tmp_path: Path
) -> None:
    actions = episodes[1].actions.copy()
    actions[2, 1] = np.nan
    bad = [episodes[0], spoilt(episodes[1], actions=actions)]
    save(tmp_path / "bad-v0", short_maze, bad, "expert", "for tests")
    row = len(episodes[0].actions) + 2
    with pytest.raises(ContractError, match=f"got nan in row {row}, signal motor_y"):
        load(str(tmp_path / "bad-v0"), SHORT_MAZE)


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="a folder without data"):
        load(str(tmp_path), SHORT_MAZE)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no such set"), ConnectionError("no network\nat all"), KeyError()]
)
def test_an_unavailable_id_is_refused_in_one_line_for_any_error_of_minari(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("minari.load_dataset", fail)
    with pytest.raises(MissingError) as raised:
        load("author/missing-v0", SHORT_MAZE)
    assert raised.value.where == "demonstrations author/missing-v0"
    assert "\n" not in str(raised.value)
