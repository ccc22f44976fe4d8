"""`python -m odeploy` in a folder whose files have the names of modules."""

import subprocess
import sys
from pathlib import Path


def test_files_of_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("numpy", "random", "runtime", "train", "dataclasses"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the working directory was imported')")
    command = [sys.executable, "-m", "odeploy", "--help"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: odeploy VERB")
