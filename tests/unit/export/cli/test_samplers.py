"""`odeploy samplers`: printed tables, written files and refused options."""

from pathlib import Path

import pytest

from odeploy_export.cli.samplers import main as samplers
from odeploy_export.samplers.results import read
from odeploy_export.samplers.settings import Setting
from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from tests.best_of_n import run_folder
from tests.policies import flow_policy

SMALL = ("--episodes", "2", "--calls", "20", "--solver", "euler", "--noise", "zero")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = get("multigoal-2d")
    return run_folder(tmp_path_factory.mktemp("runs") / "flow", task, flow_policy(task))


def test_one_run_prints_a_list_and_writes_its_results_and_files(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "s.jsonl", tmp_path / "files"
    samplers([str(run), *SMALL, "--steps", "2", "--out", str(out), "--files", str(files), "--markdown"])
    printed = capsys.readouterr().out
    assert "1 settings, 0 of them scored before" in printed
    assert "| zero | euler × 2 | 2 |" in printed
    assert f"results: {out}" in printed
    (line,) = read(out).values()
    assert (line.setting, line.episodes) == (Setting("zero", "euler", 2, 1, 2), 2)
    assert len(list(files.iterdir())) == 1


@pytest.mark.thorough
def test_two_runs_print_a_grid(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = get("multigoal-2d")
    other = run_folder(tmp_path / "other", task, flow_policy(task, seed=1), lr=1e-4)
    samplers([str(run), str(other), *SMALL, "--steps", "1", "--markdown"])
    printed = capsys.readouterr().out
    assert "| trained with | euler × 1 |" in printed
    assert "| fpo, lr 0.0001 |" in printed
    assert "what to deploy" in printed


@pytest.mark.parametrize("options", [["--within", "100"], ["--within", "-1"]])
def test_a_share_out_of_range_is_refused(run: Path, options: list[str]) -> None:
    with pytest.raises(UsageError, match="--within: expected at least one run"):
        samplers([str(run), *options])


def test_a_search_without_runs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected at least one run, .* got 0 runs"):
        samplers([])
