"""Atomic file replacement, and folders that can be written."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from odeploy_runtime.errors import UsageError, first_line


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Replace a file atomically.

    Create its folder if missing, and leave nothing behind on failure.

    Readers, and a crash, see either the old file or the new one.

    Args:
        path: path of the file.
        data: contents, in one piece or as an iterator of pieces.

    Raises:
        UsageError: the path cannot be written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines((data,) if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from None


def make_folder(path: Path) -> None:
    """Create a folder if it is missing, before work whose results go there.

    Raises:
        UsageError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: Exception) -> UsageError:
    """Return the error of a path that could not be written.

    Args:
        path: the path.
        error: what the system said, or a library that passes it on in its text.
    """
    full = os.strerror(errno.ENOSPC)
    got = full if full in str(error) else getattr(error, "strerror", None) or first_line(error)
    return UsageError(
        where=str(path),
        expected="a path that can be written",
        got=got,
        remedy="free some space or choose another path",
    )
