"""Checkpoints: atomic, and refused in one line if damaged."""

import errno
from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import FormatError, UsageError
from odeploy_train.runs import checkpoint

STATE = {"step": 3, "policy": {"w": torch.arange(4.0)}, "generator": torch.Generator().get_state()}


def test_a_saved_checkpoint_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, STATE)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded["step"] == 3
    assert torch.equal(loaded["policy"]["w"], torch.arange(4.0))
    assert torch.equal(loaded["generator"], STATE["generator"])  # type: ignore[arg-type]


def test_a_missing_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None


def test_saving_leaves_no_other_file(tmp_path: Path) -> None:
    for _ in range(2):
        checkpoint.save(tmp_path, STATE)
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


def test_a_full_disk_is_reported_and_the_old_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, STATE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="got No space left on device"):
        checkpoint.save(tmp_path, STATE | {"step": 4})
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded["step"] == 3


def test_a_reader_during_a_save_gets_the_complete_old_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, STATE)
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    with (tmp_path / checkpoint.CHECKPOINT).open("rb") as reader:
        checkpoint.save(tmp_path, STATE | {"step": 4})
        assert reader.read() == before


@pytest.mark.parametrize("keep", [0, 1, 100, -100])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, keep: int) -> None:
    checkpoint.save(tmp_path, STATE)
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="expected the checkpoint that this run saved, got a file") as raised:
        checkpoint.load(tmp_path)
    assert "\n" not in str(raised.value)
    assert raised.value.where == str(path)
    assert raised.value.remedy == "remove the folder and train again"


@pytest.mark.parametrize("state", [[1, 2], {"step": 1}, {"step": "one", "policy": {}}])
def test_a_torch_file_without_step_and_policy_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / checkpoint.CHECKPOINT)
    with pytest.raises(FormatError, match="no step and policy in it"):
        checkpoint.load(tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 1, "policy": Path("/")}, tmp_path / checkpoint.CHECKPOINT)  # pickled with a class
    with pytest.raises(FormatError, match="does not load"):
        checkpoint.load(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"Error.* in loading state_dict for Linear"):
        checkpoint.restore(torch.nn.Linear(2, 3), torch.nn.Linear(2, 4).state_dict(), tmp_path)
