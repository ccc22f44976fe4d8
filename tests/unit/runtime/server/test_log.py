"""The log: nobody can flood it, fill it, or speak through it to a terminal."""

import pytest

from odeploy_runtime.server.log import Journal
from tests.unit.runtime.fakes import FakeClock

S = 1_000_000_000


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def journal(lines: list[str], clock: FakeClock) -> Journal:
    return Journal(lines.append, clock)


def test_lines_are_passed_on_as_they_are(journal: Journal, lines: list[str]) -> None:
    journal("'arm' connected: γ")
    journal("'arm' freed")
    assert lines == ["'arm' connected: γ", "'arm' freed"]


def test_what_is_too_much_is_left_out_and_counted_in_the_next_line(
    journal: Journal, lines: list[str], clock: FakeClock
) -> None:
    for number in range(1000):
        journal(str(number))
    assert lines == [str(number) for number in range(40)]
    clock.ns += S
    journal("later")
    assert lines[40:] == ["later (960 lines left out before this one)"]


def test_the_same_line_again_is_counted_and_said_anew_after_five_seconds(
    journal: Journal, lines: list[str], clock: FakeClock
) -> None:
    for _ in range(11):
        journal("turned away")
        clock.ns += S // 2
    assert lines == ["turned away", "turned away (9 lines left out before this one)"]


@pytest.mark.parametrize("said", ["\x1b[2J", "\x07", "a\nb", "\x9b31m", "\u202e"])
def test_nothing_that_a_terminal_would_obey_gets_through(journal: Journal, lines: list[str], said: str) -> None:
    journal(said)
    assert lines[0].isprintable()


def test_a_line_without_end_is_cut(journal: Journal, lines: list[str]) -> None:
    journal("x" * 60_000)
    assert lines == ["x" * 500 + "…"]
