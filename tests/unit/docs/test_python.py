"""The page of the Python API: every public name is on it, and its examples run as one program."""

import re
import subprocess
import sys
from pathlib import Path

import odeploy
from tests.house.layout import ROOT

PAGE = ROOT / "docs/reference/python.md"
_RUN = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ALL = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_public_name_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert [name for name in odeploy.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_its_examples_run(tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text("\n".join(_RUN.findall(PAGE.read_text())))
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def test_examples_that_need_other_files_name_real_functions_and_options() -> None:
    for code in _ALL.findall(PAGE.read_text()):
        compile(code, str(PAGE), "exec")
        for name in re.findall(r"odeploy\.(\w+)", code):
            assert name in odeploy.__all__
