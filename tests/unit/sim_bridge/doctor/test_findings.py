"""Findings: the worst first, and complete in the table."""

import io

import pytest

from odeploy_runtime.errors import ContractError
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.doctor.findings import Finding, findings_table, require_sound, some, worst_first

NOTE = Finding("note", "a", "x", "seen", "nothing")
WARNING = Finding("warning", "b", "y", "limits [low, high] of 3", "do this")
ERROR = Finding("error", "c", "z", "seen", "do that")


def test_the_worst_findings_come_first_and_equal_ones_keep_their_order() -> None:
    other = Finding("error", "d", "z", "seen", "do that")
    assert worst_first([NOTE, ERROR, WARNING, other]) == [ERROR, other, WARNING, NOTE]


def test_square_brackets_are_text_in_the_table() -> None:
    console = Terminal(file=io.StringIO(), width=150)
    console.print(findings_table([WARNING]))
    assert "limits [low, high] of 3" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_long_list_of_names_is_shortened_with_a_count() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdef")) == "a, b, c, d and 2 more"


def finding(severity: str, seen: str = "seen") -> Finding:
    return Finding(severity, "score", "file", seen, "do this")  # type: ignore[arg-type]


def test_a_file_with_notes_and_warnings_passes() -> None:
    require_sound([finding("note"), finding("warning")], "f.onnx")


def test_the_first_error_is_reported_and_the_others_are_counted() -> None:
    found = [finding("warning"), finding("error", "nothing works"), finding("error")]
    with pytest.raises(ContractError) as refused:
        require_sound(found, "f.onnx")
    assert str(refused.value) == (
        "f.onnx, score, file (and 1 more): expected a file without errors, got nothing works; do this"
    )
