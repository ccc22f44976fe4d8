"""What `make test` tries once and `make thorough` on all of its kind."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_thorough(values: Iterable[Any], ordinary: int = 1) -> list[Any]:
    """Parameters of which only the first few are tried in the ordinary run; a tuple is several arguments."""
    return [
        value
        if place < ordinary
        else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.thorough)
        for place, value in enumerate(values)
    ]
