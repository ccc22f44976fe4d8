"""Replay: a ring buffer of transitions, its file, and the files that it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from odeploy_runtime.errors import FormatError
from odeploy_train.off_policy.replay import REPLAY, Replay, Transitions


def rows(numbers: list[int]) -> tuple[np.ndarray, ...]:
    """Return transitions with their number in every field."""
    n = np.array(numbers, np.float32)
    return n[:, None] * [1, 10], n[:, None] + 0.5, n.astype(np.float64), n[:, None] * [2, 20], n % 2 == 1, n + 1


def drawn(replay: Replay) -> Transitions:
    return replay.draw(400, torch.Generator().manual_seed(0))


def test_the_newest_overwrite_the_oldest_and_fields_stay_together() -> None:
    replay = Replay(5, 2, 1)
    for numbers in ([0, 1], [2, 3], [4, 5], [6]):
        replay.add(*rows(numbers))
    assert len(replay) == 5
    found = drawn(replay)
    assert set(found.reward.tolist()) == {2, 3, 4, 5, 6}
    n = found.reward[:, None]
    assert torch.equal(found.observation, n * torch.tensor([1.0, 10.0]))
    assert torch.equal(found.following, n * torch.tensor([2.0, 20.0]))
    assert torch.equal(found.action, n + 0.5)
    assert torch.equal(found.terminated, found.reward % 2)
    assert torch.equal(found.span, found.reward + 1)


def test_only_stored_transitions_are_drawn() -> None:
    replay = Replay(100, 2, 1)
    replay.add(*rows([7, 8]))
    assert set(drawn(replay).reward.tolist()) == {7, 8}


def test_a_loaded_replay_has_the_same_rows_and_continues_to_overwrite_the_oldest(tmp_path: Path) -> None:
    replay, again = Replay(3, 2, 1), Replay(3, 2, 1)
    replay.add(*rows([0, 1, 2]))
    replay.add(*rows([3]))
    replay.save(tmp_path)
    again.load(tmp_path)
    assert set(drawn(again).reward.tolist()) == {1, 2, 3}
    again.add(*rows([4]))
    assert set(drawn(again).reward.tolist()) == {2, 3, 4}


def test_improved_actions_are_stored_next_to_the_taken_ones_and_saved(tmp_path: Path) -> None:
    replay, again = (Replay(4, 2, 1, improvable=True) for _ in range(2))
    replay.add(*rows([0, 1, 2]))
    found = drawn(replay)
    assert found.improved is not None
    assert found.index is not None
    assert torch.equal(found.improved, found.action)
    replay.take_back(found.index, found.reward[:, None] * 100)
    replay.add(*rows([7]))
    replay.save(tmp_path)
    again.load(tmp_path)
    for each in (replay, again):
        found = drawn(each)
        assert found.improved is not None
        fresh = found.reward == 7
        assert torch.equal(found.improved[fresh], found.action[fresh])
        assert torch.equal(found.improved[~fresh, 0], 100 * found.reward[~fresh])
        assert torch.equal(found.action[:, 0], found.reward + 0.5)


def test_without_a_file_the_replay_stays_empty(tmp_path: Path) -> None:
    replay = Replay(3, 2, 1)
    replay.load(tmp_path)
    assert len(replay) == 0


@pytest.mark.parametrize("damage", ["cut", "garbage", "other task", "too long"])
def test_a_file_that_does_not_fit_is_refused(damage: str, tmp_path: Path) -> None:
    replay = Replay(8, 2, 1)
    replay.add(*rows([0, 1, 2]))
    replay.save(tmp_path)
    path = tmp_path / REPLAY
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    if damage == "garbage":
        path.write_bytes(b"no archive")
    other = {"other task": Replay(8, 3, 1), "too long": Replay(2, 2, 1)}.get(damage, Replay(8, 2, 1))
    with pytest.raises(FormatError, match=r"replay\.npz: expected the replay that this run saved"):
        other.load(tmp_path)
    assert len(other) == 0


def test_a_pickled_array_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / REPLAY, observation=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="ValueError"):
        Replay(3, 2, 1).load(tmp_path)
