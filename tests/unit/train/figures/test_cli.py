"""Commands of the multigoal-2d figures; `test_grid_world.py` tests `figures fpo`."""

import json
from pathlib import Path

import pytest

from odeploy_train.figures import cli as figures


def test_shares_are_printed_written_and_drawn(
    multigoal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, results = tmp_path / "goals.png", tmp_path / "goals.jsonl"
    runs = [str(multigoal / name) for name in ("fmer-24", "sac-1", "sac")]
    figures.goals([*runs, "--out", str(out), "--results", str(results), "--episodes", "5"])
    assert out.read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["method"], line["seed"]) for line in lines] == [("FMER", 0), ("SAC", 0), ("SAC", 1)]
    assert "0 of 2 seeds" in capsys.readouterr().out


def test_fmers_evolution_is_drawn_with_and_without_a_greedy_run_in_any_order(
    multigoal: Path, tmp_path: Path
) -> None:
    runs = [str(multigoal / name) for name in ("fmer-24", "fmer-48")]
    common = ["--samples", "20", "--episodes", "2"]
    figures.fmer([runs[0], *common, "--out", str(tmp_path / "a.png")])
    for name, order in (("b.png", runs), ("c.png", runs[::-1])):
        figures.fmer([*order, *common, "--out", str(tmp_path / name), "--greedy", runs[0]])
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a.startswith(b"\x89PNG")
    assert b.startswith(b"\x89PNG")
    assert b == c  # sorted by steps
