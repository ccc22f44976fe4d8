"""A file that a reader or a crash meets as the old one or the new one, whole."""

import os
from collections.abc import Iterable
from pathlib import Path

from odeploy_runtime.errors import UsageError


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Replaces a file in one go; its folder is made if need be, and nothing is left behind on failure.

    Args:
        path: of the file.
        data: what it shall hold, in one piece or in several, which are asked for one after the other.

    Raises:
        UsageError: the place cannot be written, or the disk is full.
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
            expected="a place where a file can be written",
            got=error.strerror or type(error).__name__,
            remedy="free some space or choose another place",
        ) from None
