"""The verb as a user types it: files, scores and times; what was scored is not scored again."""

import json
from pathlib import Path

import pytest

from odeploy_export.cli.samplers import main as samplers
from odeploy_export.samplers import jobs as sampler_jobs
from odeploy_export.samplers.results import read
from odeploy_export.samplers.settings import Setting
from odeploy_runtime.errors import FormatError, UsageError
from odeploy_runtime.policy_file.file import read as read_policy
from odeploy_sim.bench.batched_policy import FileScorer
from odeploy_sim.catalogue import get
from tests.best_of_n import run_folder
from tests.policies import flow_policy

SMALL = ("--episodes", "2", "--calls", "20", "--solver", "euler", "--noise", "zero")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = get("multigoal-2d")
    return run_folder(tmp_path_factory.mktemp("runs") / "flow", task, flow_policy(task))


def test_settings_are_scored_once_and_timed_each_time(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "s.jsonl", tmp_path / "files"
    words = [str(run), *SMALL, "--out", str(out), "--files", str(files)]
    samplers([*words, "--steps", "2"])
    said = capsys.readouterr().out
    assert "1 settings, 0 of them scored before" in said
    assert "flow: euler × 2, zero: success" in said
    (first,) = read(out).values()
    assert (first.run, first.method, first.setting) == ("flow", "fpo", Setting("zero", "euler", 2, 1, 2))
    assert first.low <= first.value <= first.high
    assert first.episodes == 2
    assert first.inference_us is not None
    (file,) = files.iterdir()
    assert read_policy(file).fingerprint == first.fingerprint

    def refuse(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(sampler_jobs, "export_policy", refuse)
    monkeypatch.setattr(FileScorer, "play", refuse)
    samplers([*words, "--steps", "2", "--markdown"])
    said = capsys.readouterr().out
    assert "1 settings, 1 of them scored before" in said
    assert "| zero | euler × 2 | 2 |" in said
    (again,) = read(out).values()
    assert again.inference_us != first.inference_us
    assert again.value == first.value


@pytest.mark.thorough
def test_two_runs_make_a_grid(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = get("multigoal-2d")
    other = run_folder(tmp_path / "other", task, flow_policy(task, seed=1), lr=1e-4)
    samplers([str(run), str(other), *SMALL, "--steps", "1", "--markdown"])
    said = capsys.readouterr().out
    assert "| trained with | euler × 1 |" in said
    assert "| fpo, lr 0.0001 |" in said
    assert "what to deploy" in said


def test_options_without_sense_and_lines_of_something_else_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--within: expected at least one run"):
        samplers([str(run), "--within", "100"])
    with pytest.raises(UsageError, match=r"--level 1e\+06: expected"):
        samplers([str(run), *SMALL, "--level", "1e6"])
    out = tmp_path / "o.jsonl"
    for text in ("nothing\n", json.dumps({"key": 1}) + "\n"):
        out.write_text(text)
        with pytest.raises(FormatError, match=r"o\.jsonl, line 1"):
            samplers([str(run), *SMALL, "--out", str(out)])
