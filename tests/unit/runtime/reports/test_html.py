"""The report: one page with the table of runs, four figures and the runs, which loads nothing from elsewhere."""

import base64
import re
from pathlib import Path

import pytest

from odeploy_runtime.errors import FormatError
from odeploy_runtime.reports.bench_results import BenchRow, write_results
from odeploy_runtime.reports.html import render
from tests.unit.runtime import traces
from tests.unit.runtime.bench import FLOORS, results, row

TICKS = [each | {"stamps": tuple(range(1, 12))} for each in traces.numbered(3)]


def page(folder: Path, *rows: BenchRow) -> str:
    """Return the page of a bench whose runs have a trace of three ticks each."""
    for each in rows:
        traces.write(folder / each.trace, *TICKS)
    write_results(results(*rows), folder / "bench.json")
    return render(folder)


def test_a_page_has_the_ledger_four_pictures_and_a_line_for_each_run(tmp_path: Path) -> None:
    text = page(tmp_path, row(), row(policy="student", trace="student.trace", mode="lockstep"))
    assert text.startswith("<!doctype html>")
    assert "<h1>maze-medium: 2 runs</h1>" in text
    assert re.findall(r"<tr><td>(\w+)</td>", text) == ["teacher", "student"]
    pictures = re.findall(r"src='data:image/png;base64,([^']+)'", text)
    assert len(pictures) == 4
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert text.count("<li>") == 2
    assert "student lockstep lane: teacher.onnx, fingerprint ffffffffffff, CPUExecutionProvider, 2 s" in text
    assert re.findall(r"(?:src|href)='(?!data:)", text) == []


def test_names_from_files_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, row(policy="<script>x</script>", file="a&b.onnx"))
    assert "<script>" not in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text
    assert "a&amp;b.onnx" in text


@pytest.mark.parametrize("two", [False, True])
def test_a_run_with_two_clocks_is_noted(tmp_path: Path, two: bool) -> None:
    shown = row(stages_p50_us={"woke": 1.0} if two else {"woke": 1.0, "received": 2.0, "arrived": 3.0})
    note = "trace teacher-100hz.trace; robot and server have different clocks: no stages of the wire</li>"
    assert (note in page(tmp_path, shown)) == two


def test_no_name_breaks_the_figures(tmp_path: Path) -> None:
    assert "$\\frac$" in page(tmp_path, row(policy="$\\frac$ \x1b[2J"))


def test_lower_bounds_have_a_table_only_if_measured(tmp_path: Path) -> None:
    assert "Lower bounds" not in page(tmp_path, row())
    assert "<h2>Lower bounds, same run and rate" in page(tmp_path, row(floors=FLOORS, round_trip_to_floors=1.25))


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    write_results(results(row()), tmp_path / "bench.json")
    with pytest.raises(FormatError, match=r"teacher-100hz.trace"):
        render(tmp_path)
