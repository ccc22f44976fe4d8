"""Reading a file of another library."""

from pathlib import Path

from odeploy_runtime.errors import MissingError
from odeploy_runtime.regular_file import DATA_BYTES, read_regular


def read_bytes(path: Path, expected: str, remedy: str) -> bytes:
    """Return the content of a file that the user gave.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return read_regular(path, DATA_BYTES)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise MissingError(where=str(path), expected=expected, got=got, remedy=remedy) from None
