"""Atomic file replacement."""

import os
from collections.abc import Iterable
from pathlib import Path

from odeploy_runtime.errors import UsageError


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
        raise UsageError(
            where=str(path),
            expected="a path that can be written",
            got=error.strerror or type(error).__name__,
            remedy="free some space or choose another path",
        ) from None
