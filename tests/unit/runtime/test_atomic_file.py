"""Atomic file replacement: a file is written completely or not at all."""

from pathlib import Path

import pytest

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import UsageError


def test_a_path_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"file/policy\.onnx: expected a path that"):
        write_whole(tmp_path / "file" / "policy.onnx", b"data")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_folder_is_made_and_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "policy.onnx"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["policy.onnx"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.onnx"
    write_whole(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["policy.onnx"]
