"""Child processes import installed modules, independently of the working directory."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from odeploy_runtime.realtime import child_process
from odeploy_runtime.realtime.child_process import ending, python_module, serving

_DECOYS = ("runtime", "sim_bridge", "train", "export", "numpy", "random")


@pytest.fixture
def folder_of_decoys(tmp_path: Path) -> Path:
    for name in _DECOYS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a decoy was imported')\n")
    return tmp_path


def test_a_child_imports_nothing_from_the_working_directory(folder_of_decoys: Path) -> None:
    command = python_module("odeploy", "--help")
    done = subprocess.run(command, cwd=folder_of_decoys, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_is_started_in_one_module_only() -> None:
    packages = (Path(__file__).parents[4] / name for name in ("runtime", "sim_bridge", "train", "export"))
    starters = [
        file.name for package in packages for file in package.rglob("*.py") if "sys.executable" in file.read_text()
    ]
    assert starters == ["child_process.py"]


def test_a_server_started_as_a_child_logs_in_its_parents_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    @contextlib.contextmanager
    def child(command: list[str], _log: Path) -> Iterator[None]:
        started.append(command)
        yield

    monkeypatch.setattr(child_process, "child", child)
    monkeypatch.setattr(child_process, "wait_bound", lambda *_: None)
    for configured, expected in (
        (None, ["text", "info"]),
        ('{"log_format": "json", "log_level": "error"}', ["json", "error"]),
    ):
        monkeypatch.setenv("ODEPLOY_LOG", configured) if configured else monkeypatch.delenv(
            "ODEPLOY_LOG", raising=False
        )
        with serving(tmp_path / "p.onnx", ["--provider", "cpu"]) as endpoint:
            assert endpoint.startswith("ipc://")
        command = started.pop()
        assert command[4:7] == ["serve", str(tmp_path / "p.onnx"), "--endpoint"]
        assert command[8:] == ["--log-format", expected[0], "--log-level", expected[1], "--provider", "cpu"]


def test_the_end_of_a_child_is_named_by_signal_or_status() -> None:
    assert [ending(status) for status in (-9, 3, None)] == [
        "its death by SIGKILL",
        "its exit with 3",
        "its exit with None",
    ]
