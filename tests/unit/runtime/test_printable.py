"""Text from elsewhere, made safe: nothing of it controls a terminal or begins another line."""

from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import ContractError, RelayedError
from odeploy_runtime.printable import printable
from tests.hostile_text import CLEARS_SCREEN, TEXTS, assert_harmless


@given(st.text(st.characters(codec=None)))
def test_the_result_has_as_many_characters_and_can_be_encoded_and_printed(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    shown.encode()
    assert all(a == b for a, b in zip(text, shown, strict=True) if a.isprintable())


def test_kept_characters_stay() -> None:
    assert printable("a\nb\tc", keep="\n") == "a\nb?c"


@given(TEXTS)
def test_an_error_is_one_printable_line_whatever_it_names(text: str) -> None:
    for error in (ContractError(where=text, expected=text, got=text, remedy=text), RelayedError(f"x{text}")):
        assert_harmless(str(error))
        assert "\n" not in str(error)


def test_an_escape_sequence_in_an_error_is_shown_as_text() -> None:
    assert str(RelayedError(CLEARS_SCREEN)) == "?[2J?]0;owned?"
