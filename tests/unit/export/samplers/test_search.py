"""A search for deployment settings: what it scores, what it times again and what it refuses."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from odeploy_export.samplers import jobs as sampler_jobs
from odeploy_export.samplers.jobs import Score
from odeploy_export.samplers.results import Measured, read
from odeploy_export.samplers.search import Search, measured
from odeploy_export.samplers.settings import Axes, Setting
from odeploy_runtime.errors import FormatError, UsageError
from odeploy_runtime.policy_file.file import read as read_policy
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.batched_policy import FileScorer
from odeploy_sim.catalogue import get
from tests.best_of_n import run_folder
from tests.policies import flow_policy

AXES = Axes(noise=("zero",), solver=("euler",), steps=(2,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = get("multigoal-2d")
    return run_folder(tmp_path_factory.mktemp("runs") / "flow", task, flow_policy(task))


def search(run: Path, out: Path, level: float = 1.0) -> tuple[list[Measured], str]:
    """Search two episodes per file; return the results and the printed text."""
    console = Console(file=io.StringIO())
    score = Score(episodes=2, seed=1, level=level, chunks=ChunkOptions())
    results = measured(Search((run,), AXES, score, calls=20, files=out.parent / "files", out=out), console)
    assert isinstance(console.file, io.StringIO)
    return results, console.file.getvalue()


def test_settings_are_scored_once_and_timed_each_time(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.jsonl"
    (first,), printed = search(run, out)
    assert "1 settings, 0 of them scored before" in printed
    assert "flow: euler × 2, zero: success" in printed
    assert list(read(out).values()) == [first]
    assert (first.run, first.method, first.setting) == ("flow", "fpo", Setting("zero", "euler", 2, 1, 2))
    assert first.low <= first.value <= first.high
    assert first.episodes == 2
    assert first.inference_us is not None
    (file,) = (tmp_path / "files").iterdir()
    assert read_policy(file).fingerprint == first.fingerprint

    def refuse(*_: object) -> None:
        raise AssertionError("exported or scored again")

    monkeypatch.setattr(sampler_jobs, "export_policy", refuse)
    monkeypatch.setattr(FileScorer, "play", refuse)
    (again,), printed = search(run, out)
    assert "1 settings, 1 of them scored before" in printed
    assert list(read(out).values()) == [again]
    assert again.inference_us != first.inference_us
    assert again.value == first.value


def test_a_level_out_of_the_tasks_range_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--level 1e\+06: expected"):
        search(run, tmp_path / "s.jsonl", level=1e6)


def test_an_earlier_file_with_other_lines_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    for text in ("nothing\n", '{"key": 1}\n'):
        out.write_text(text)
        with pytest.raises(FormatError, match=r"o\.jsonl, line 1"):
            search(run, out)
