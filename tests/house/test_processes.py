"""Child processes are started by one module, which ends them on every way out of their parent."""

import ast
from pathlib import Path

from tests.house.layout import PACKAGES, modules

STARTER = PACKAGES["odeploy_runtime"] / "realtime/child_process.py"
TYPES = {"Connection", "RawArray", "SpawnContext", "SpawnProcess", "resource_tracker"}
"""What other modules may take from `multiprocessing`: nothing that starts a process."""
STARTS = ("fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "system", "execv", "execve", "spawnv")


def test_no_other_module_starts_a_process() -> None:
    found = {str(file): starts(file.read_text()) for file in modules() if file != STARTER}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_start_is_found() -> None:
    source = "import subprocess\nfrom multiprocessing import Pool\nimport os\nos.fork()\nfrom os import system\n"
    assert starts(source) == [1, 2, 4, 5]
    assert starts("from multiprocessing.connection import Connection\nimport os\nos.kill(1, 9)\n") == []
    assert starts(Path(STARTER).read_text()) != []


def starts(source: str) -> list[int]:
    """Return the lines that could start a process."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad = any(alias.name.split(".")[0] in ("subprocess", "multiprocessing") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package, names = (node.module or "").split(".")[0], {alias.name for alias in node.names}
            bad = (
                package == "subprocess"
                or (package == "multiprocessing" and not names <= TYPES)
                or (package == "os" and not names.isdisjoint(STARTS))
                or "ProcessPoolExecutor" in names
            )
        else:
            bad = isinstance(node, ast.Attribute) and node.attr in STARTS and ast.unparse(node.value) == "os"
        if bad:
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return sorted(lines)
