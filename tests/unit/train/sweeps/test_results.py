"""Results of sweeps: appended lines, and their reader."""

import subprocess
import sys
from pathlib import Path

from odeploy_train.sweeps.results import append, finished, lines, newest, outdated


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


def test_a_row_has_lines_of_one_version_the_newest() -> None:
    def line(method: str, seed: int, value: int, **more: int) -> dict[str, object]:
        return {"task": "hopper", "method": method, "verb": "fm-irl", "seed": seed, "value": value, **more}

    measured = [
        *(line("FM-IRL", seed, 1) for seed in range(3)),
        line("FM-IRL", 0, 2, version=2),
        line("GAIL", 0, 3),
        line("GAIL", 0, 4, version=1),
        line("FM-IRL", 1, 5),  # an old training, repeated
    ]
    assert [(k["method"], k["seed"], k["value"]) for k in newest(measured)] == [("FM-IRL", 0, 2), ("GAIL", 0, 4)]
    assert [outdated(k) for k in newest(measured)] == [False, True]


def test_a_table_imports_neither_ray_nor_torch() -> None:
    code = "import sys, odeploy_train.sweeps.table; print({'ray', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
