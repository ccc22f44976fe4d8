"""Files that a user or a file names: opened only if regular and bounded in size.

A pipe would block forever, `/dev/zero` and a sparse file fill the memory. Each is an `OSError` here, like a
missing file, so a reader reports all of them in its own words.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from odeploy_runtime.errors import MissingError

POLICY_BYTES = 1 << 30
"""Policy files: 250 million float32 parameters, a hundred times what a control loop runs."""
TEXT_BYTES = 1 << 26
"""JSON, TOML, Python and key files."""
DATA_BYTES = 1 << 35
"""Traces, demonstrations, checkpoints, models: read in parts, or as large as a user's own work."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, most_bytes: int) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: it cannot be opened, is not a regular file, or is larger than `most_bytes`.
    """
    require_regular(path, most_bytes)  # opening a device can already change it
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    try:
        _require(os.fstat(descriptor), path, most_bytes)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the contents of a file.

    Errors are those of `open_regular`, also if it grows beyond its limit.
    """
    with open_regular(path, most_bytes) as file:
        return read_bounded(file, path, most_bytes)


def read_data(path: Path, expected: str, remedy: str) -> bytes:
    """Return the content of a data file that the user gave.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return read_regular(path, DATA_BYTES)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise MissingError(where=str(path), expected=expected, got=got, remedy=remedy) from None


def read_bounded(file: BinaryIO, path: Path, most_bytes: int) -> bytes:
    """Return the rest of an opened file; errors as in `open_regular`."""
    status = os.fstat(file.fileno())
    _require(status, path, most_bytes)
    data = file.read(min(status.st_size, most_bytes) + 1)
    if len(data) > status.st_size:  # it grows, or has no size, as in /proc
        data += file.read(most_bytes + 1 - len(data))
        if len(data) > most_bytes:
            raise _too_large(path, most_bytes, f"more than {most_bytes:,} bytes")
    return data


def require_regular(path: Path, most_bytes: int) -> None:
    """Check a file that another library opens by its path.

    Errors are those of `open_regular`.
    """
    _require(path.stat(), path, most_bytes)


def _require(status: os.stat_result, path: Path, most_bytes: int) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"{_KINDS.get(kind, 'something else')} instead of a file", str(path))
    if status.st_size > most_bytes:
        raise _too_large(path, most_bytes, f"{status.st_size:,} bytes")


def _too_large(path: Path, most_bytes: int, got: str) -> OSError:
    return OSError(errno.EFBIG, f"{got}, above the limit of {most_bytes:,}", str(path))
