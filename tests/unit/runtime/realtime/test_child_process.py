"""Child processes import installed modules, independently of the working directory."""

import subprocess
from pathlib import Path

import pytest

from odeploy_runtime.realtime.child_process import python_module

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
