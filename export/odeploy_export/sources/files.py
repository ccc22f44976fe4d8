"""Reading a file of another library."""

from pathlib import Path

from odeploy_runtime.errors import MissingError


def read_bytes(path: Path, expected: str, remedy: str) -> bytes:
    """Return the content of a file that the user gave.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise MissingError(where=str(path), expected=expected, got=got, remedy=remedy) from None
