"""Results of sweeps: appended lines, and their reader."""

import subprocess
import sys
from pathlib import Path

from odeploy_train.sweeps.results import append, finished, lines


def test_lines_are_appended_and_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "results" / "maze.jsonl"
    assert finished(path) == set()
    for key in ("a", "b"):
        append(path, {"key": key, "scores": {"1": 0.5}})
    assert [line["key"] for line in lines(path)] == ["a", "b"]
    assert finished(path) == {"a", "b"}


def test_a_truncated_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "maze.jsonl"
    append(path, {"key": "a"})
    path.write_text(path.read_text() + '{"key": "b", "sco')
    assert finished(path) == {"a"}


def test_a_table_imports_neither_ray_nor_torch() -> None:
    code = "import sys, odeploy_train.sweeps.table; print({'ray', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
