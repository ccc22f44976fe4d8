"""Parameters that `make test` samples and `make thorough` covers completely."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_thorough(values: Iterable[Any], ordinary: int = 1) -> list[Any]:
    """Return parameters of which the ordinary run uses only the first few; a tuple is several arguments."""
    return [
        value
        if place < ordinary
        else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.thorough)
        for place, value in enumerate(values)
    ]
