"""`odeploy score` prints a table, and keeps the figures of other tasks in its JSON."""

import json
from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_sim.cli import score


@pytest.mark.parametrize(
    ("options", "where"), [(["--episodes", "0"], "--episodes"), (["--execute", "2"], "--execute")]
)
def test_an_error_names_the_wrong_option(options: list[str], where: str) -> None:
    with pytest.raises(UsageError) as raised:
        score.main(["multigoal-2d", *options])
    assert raised.value.where == where


def test_figures_of_other_tasks_stay_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "experts.json"
    for task in ("multigoal-2d", "reacher-easy"):
        score.main([task, "--episodes", "2", "--out", str(out)])
    kept = json.loads(out.read_text())["tasks"]
    assert sorted(kept) == ["multigoal-2d", "reacher-easy"]
    assert kept["multigoal-2d"]["episodes"] == 2
    assert "scores in lockstep" in capsys.readouterr().out
