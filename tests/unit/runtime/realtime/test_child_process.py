"""Child processes import installed modules alone, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from odeploy_runtime.realtime.child_process import child, end, ending, finish, python_module, spawning, start

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


def program(folder: Path, source: str) -> dict[str, str]:
    """Write a module and return an environment that finds it."""
    (folder / "program.py").write_text(source)
    return dict(os.environ) | {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


SLEEPING = """
import sys, time
from pathlib import Path
try:
    Path(sys.argv[1]).write_text("begun")
    time.sleep(60)
finally:
    Path(sys.argv[1]).write_text("unwound")
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_has_a_session_of_its_own_and_is_unwound_on_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", program(tmp_path, SLEEPING)["PYTHONPATH"])
    mark, seen = tmp_path / "mark", []

    def fail() -> None:
        with child(python_module("program", str(mark)), tmp_path / "log") as process:
            seen.append(process)
            wait_for(mark.exists)
            assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (process,) = seen
    assert (process.returncode, mark.read_text()) == (128 + signal.SIGTERM, "unwound")


def test_a_child_that_does_not_end_is_killed_with_its_group(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    shell = f"trap '' TERM; sleep 60 & echo $! > {mark}; wait"
    process = start(["sh", "-c", shell])
    wait_for(lambda: mark.exists() and mark.read_text().endswith("\n"))
    end(process, within_s=0.1)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: ended(int(mark.read_text())))


def ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_parent_takes_its_children_and_their_folders_along(tmp_path: Path, stopped: bool) -> None:
    """A stopped child cannot unwind, so only SIGKILL ends it at once."""
    folder, mark = tmp_path / "folder", tmp_path / "mark"
    folder.mkdir()
    orphaned = signal.SIGKILL if stopped else signal.SIGTERM
    parent = f"""
import os, signal
from pathlib import Path
from odeploy_runtime.realtime.child_process import python_module, start
command = python_module("program", {str(mark)!r}, orphaned=signal.{orphaned.name}, folder=Path({str(folder)!r}))
print(start(command).pid, flush=True)
signal.pause()
"""
    environment = program(tmp_path, SLEEPING)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", parent], stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        wait_for(lambda: mark.exists() and mark.read_text() == "begun")
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
    wait_for(lambda: ended(pid))
    assert stopped or (mark.read_text() == "unwound" and not folder.exists())


def test_a_child_whose_parent_is_dead_already_ends_at_once(tmp_path: Path) -> None:
    command = python_module("odeploy", "tasks", folder=tmp_path)
    command[command.index(str(os.getpid()))] = "1"
    status, output, _ = finish(command, stdout=subprocess.PIPE)
    assert (status, output) == (128 + signal.SIGTERM, "")
    assert not tmp_path.exists()


def test_without_the_kernels_help_a_thread_watches_the_parent() -> None:
    code = """
import signal
from odeploy_runtime.realtime import child_main
child_main._asked_of_kernel = lambda _: False
child_main.end_with_parent(1, signal.SIGTERM)
signal.pause()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM


def test_a_finished_command_gives_status_and_output() -> None:
    assert finish(["sh", "-c", "echo a; echo b >&2; exit 3"], stdout=subprocess.PIPE) == (3, "a\n", "b\n")


def test_workers_import_nothing_from_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "0"):
        monkeypatch.setenv("PYTHONSAFEPATH", before) if before else monkeypatch.delenv("PYTHONSAFEPATH", False)
        with spawning():
            assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ.get("PYTHONSAFEPATH") == before


def test_the_end_of_a_child_is_named_by_signal_or_status() -> None:
    assert [ending(status) for status in (-9, 3, None)] == [
        "its death by SIGKILL",
        "its exit with 3",
        "its exit with None",
    ]
