"""A socket takes a path only if no process, file or folder is there."""

import os
import socket
from pathlib import Path

import pytest

from odeploy_runtime.errors import AddressError
from odeploy_runtime.socket_path import claim, removed_at_end


def test_a_free_path_and_that_of_a_dead_socket_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    claim(path, "here")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    claim(path, "here")
    assert not path.exists()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_a_socket_that_a_process_has_is_not_replaced(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, kind) as living, socket.socket(socket.AF_UNIX, kind) as waiting:
        living.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            living.listen(0)
            waiting.connect(str(path))  # the queue is full
        with pytest.raises(AddressError, match=r"^here: .* got an address on which another server answers"):
            claim(path, "here")
        assert path.is_socket()


def test_files_folders_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in os.listdir(tmp_path):  # noqa: PTH208
        with pytest.raises(AddressError, match="expected a free path"):
            claim(tmp_path / name, "here")
    assert len(os.listdir(tmp_path)) == 3  # noqa: PTH208


def test_the_file_is_removed_at_the_end_unless_another_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.touch()
    with removed_at_end(path):
        pass
    assert not path.exists()
    path.touch()
    with removed_at_end(path):
        (tmp_path / "other").touch()
        (tmp_path / "other").replace(path)
    assert path.exists()
