"""The terminal: hostile names are printed as they are, and control nothing."""

import io
from dataclasses import replace

import pytest
from hypothesis import example, given
from rich.table import Table

from odeploy_runtime.reports.tables import floors_table, one_run, run_row, runs_table, signal_table, wide
from odeploy_runtime.reports.terminal import Terminal, progress_bars
from tests.hostile_text import CLEARS_SCREEN, CLOSES_TAG, TEXTS, assert_harmless, with_texts
from tests.unit.runtime.bench import row
from tests.unit.runtime.fakes import manifest


def terminal() -> Terminal:
    return Terminal(width=200, file=io.StringIO())


def text_of(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.fault(34)
@given(TEXTS)
@example(CLEARS_SCREEN)
@example(CLOSES_TAG)
def test_every_place_that_prints_a_string_prints_it_harmlessly(text: str) -> None:
    console = terminal()
    console.print(f"line {text}")
    table = Table(f"head {text}", title=f"title {text}", caption=text)
    table.add_row(f"cell {text}")
    console.print(table)
    wide(console).print(table)
    assert_harmless(text_of(console))


@pytest.mark.parametrize("text", [CLOSES_TAG, "[red]", "[link=https://x]", ":smile:", "[/]"])
def test_markup_and_emoji_are_printed_as_text(text: str) -> None:
    console = terminal()
    table = Table(title=f"title {text}")
    table.add_column(f"head {text}")
    table.add_row(f"cell {text}")
    console.print(f"line {text}")
    console.print(table)
    assert [text_of(console).count(f"{place} {text}") for place in ("line", "title", "head", "cell")] == [1] * 4


def test_an_escape_sequence_is_printed_as_text() -> None:
    console = terminal()
    console.print(f"a{CLEARS_SCREEN}b")
    assert text_of(console) == "a?[2J?]0;owned?b\n"


@given(TEXTS)
@example(CLOSES_TAG)
def test_the_tables_of_a_hostile_policy_are_harmless(text: str) -> None:
    console, run = terminal(), replace(row(), policy=text, method=text, sampler=text, mode=text)
    table = runs_table(f"{text} on a machine")
    table.add_row(*run_row(run))
    for shown in (table, one_run(text, run), floors_table([run], pre_touch=True)):
        console.print(shown)
    for signals in (manifest().observation, manifest().action):
        console.print(signal_table("signals", with_texts(signals, text)))
    assert_harmless(text_of(console))


@pytest.mark.parametrize("text", [CLOSES_TAG, CLEARS_SCREEN])
def test_the_label_of_a_progress_bar_is_printed_as_text(text: str) -> None:
    console = terminal()
    with progress_bars(console) as progress:
        progress.add_task(f"label {text}", total=1)
    assert_harmless(text_of(console))
    assert "label " in text_of(console)
