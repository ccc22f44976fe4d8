"""Texts that a hostile policy file or peer may contain, and the check of what a terminal gets of them."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from hypothesis import strategies as st

T = TypeVar("T")

CLEARS_SCREEN = "\x1b[2J\x1b]0;owned\x07"
CLOSES_TAG = "[/red]"
TEXTS = st.one_of(
    st.sampled_from([CLEARS_SCREEN, CLOSES_TAG, "[bold]", "[link=x]", ":smile:", "\r\n", "\x9b31m", "\u202e"]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


def with_texts(value: T, text: str) -> T:
    """Append `text` to every free text in a record, and to the keys of its dictionaries."""
    if isinstance(value, str):
        return value + text  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(with_texts(inside, text) for inside in value)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {key + text: with_texts(inside, text) for key, inside in value.items()}  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    hints = get_type_hints(type(value))
    changes: dict[str, Any] = {
        field.name: with_texts(getattr(value, field.name), text)
        for field in fields(value)
        if get_origin(hints[field.name]) is not Literal
    }
    changed: T = replace(value, **changes)
    return changed


def assert_harmless(printed: str) -> None:
    """Fail if printed text contains anything that is not a printable character or a line break."""
    assert printed
    assert [c for c in printed if not (c.isprintable() or c == "\n")] == []
