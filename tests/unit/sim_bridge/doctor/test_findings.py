"""Findings, the worst first, with nothing lost in the table."""

import io

from rich.console import Console

from odeploy_sim.doctor.findings import Finding, findings_table, some, worst_first

NOTE = Finding("note", "a", "x", "seen", "nothing")
WARNING = Finding("warning", "b", "y", "limits [low, high] of 3", "do this")
ERROR = Finding("error", "c", "z", "seen", "do that")


def test_the_worst_come_first_and_equals_stay_in_order() -> None:
    other = Finding("error", "d", "z", "seen", "do that")
    assert worst_first([NOTE, ERROR, WARNING, other]) == [ERROR, other, WARNING, NOTE]


def test_square_brackets_are_text_in_the_table() -> None:
    console = Console(file=io.StringIO(), width=150)
    console.print(findings_table([WARNING]))
    assert "limits [low, high] of 3" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_long_list_of_names_is_cut_and_counted() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdef")) == "a, b, c, d and 2 more"
