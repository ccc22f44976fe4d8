"""Options of `export` that are TOML files: one dataclass each, or one line that says what is wrong."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.typed_json import decode

T = TypeVar("T")


def from_toml(
    kind: type[T], file: Path, option: str, what: str, own: Mapping[str, Any], check: Callable[[T], None]
) -> T:
    """Reads a dataclass.

    Args:
        kind: the dataclass.
        file: TOML with its fields.
        option: for messages.
        what: it is, for messages.
        own: fields that the file does not say.
        check: raises a ValueError where the numbers fit no task.

    Raises:
        MissingError: no such file.
        FormatError: not TOML, a field of the wrong type, or numbers that do not fit.
    """
    try:
        read = decode(kind, tomllib.loads(file.read_text()) | dict(own), str(file))
        check(read)
    except OSError as error:
        raise MissingError(
            where=f"{option} {file}",
            expected="a TOML file",
            got=error.strerror or type(error).__name__,
            remedy="see docs/reference/policy-file.md for what is in one",
        ) from None
    except ValueError as error:  # of the parser too
        raise FormatError(
            where=f"{option} {file}", expected=f"TOML of {what}", got=str(error), remedy="mend what is named"
        ) from None
    return read
