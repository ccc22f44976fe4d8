"""Only a regular file of a bounded size is opened, and nothing else is waited for or read."""

import os
import socket
from pathlib import Path

import pytest

from odeploy_runtime.regular_file import open_regular, read_bounded, read_regular, require_regular


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345678")
    assert read_regular(path, 8) == b"12345678"
    require_regular(path, 8)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular(link, 8) == b"12345678"


def test_a_file_above_the_limit_is_refused_unread_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(OSError, match="3,000,000,000 bytes, above the limit of 1,073,741,824"):
        open_regular(path, 1 << 30)


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a socket", "a device"])
def test_what_is_not_a_regular_file_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with socket.socket(socket.AF_UNIX) as bound:
        if kind == "a folder":
            path.mkdir()
        elif kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a socket":
            bound.bind(str(path))
        else:
            path = Path("/dev/zero")
        for opening in (open_regular, read_regular, require_regular):
            with pytest.raises(OSError, match=f"{kind} instead of a file"):
                opening(path, 100)


def test_a_file_that_grows_or_states_no_size_is_bounded_too(tmp_path: Path) -> None:
    assert read_regular(Path("/proc/self/status"), 1 << 20).startswith(b"Name:")  # its size reads as 0
    with pytest.raises(OSError, match="more than 10 bytes, above the limit of 10"):
        read_regular(Path("/proc/self/status"), 10)
    path = tmp_path / "f"
    path.write_bytes(b"123")
    with path.open("rb") as file:
        assert read_bounded(file, path, 3) == b"123"


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none", 1)
