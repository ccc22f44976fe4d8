"""Locks of a sweep: one holder at a time, and a child keeps its parent's."""

import fcntl
import os
import signal
import sys
from pathlib import Path

from odeploy_runtime.realtime.child_process import PIPE, start
from odeploy_train.sweeps.locks import alone

HOLDS = """
import subprocess, sys, time
from pathlib import Path
from odeploy_train.sweeps.locks import alone
with alone(Path(sys.argv[1])) as lock:
    waits = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    print(waits.pid, flush=True)
    waits.wait()
"""


def is_free(name: Path) -> bool:
    with name.with_name(f".{name.name}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_lock_is_held_within_and_free_after(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "run"):
            assert not is_free(tmp_path / "run")
            assert is_free(tmp_path / "another")
        assert is_free(tmp_path / "run")


def test_a_child_keeps_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    name = tmp_path / "run"
    holder = start([sys.executable, "-c", HOLDS, str(name)], stdout=PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    with holder.stdout:
        holder.kill()
        holder.wait()
    assert not is_free(name)
    os.kill(child, signal.SIGKILL)
    with alone(name):  # waits until the child is gone
        pass
