"""Trial loads in a child process: graphs without an end, crashes, refusals, signals."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from odeploy_runtime.errors import PolicyFileError, UsageError, WorkerError
from odeploy_runtime.inference.trial_load import load_tried, try_load
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.endless import endless_path
from tests.policies import policy_path

LOAD = "odeploy_runtime.inference.trial_load.load_policy"


def test_a_good_file_is_loaded(tmp_path: Path) -> None:
    assert load_tried(read(policy_path(tmp_path, MAZE_MEDIUM)), "cpu").golden_error < 1e-5


def test_a_graph_without_an_end_is_refused_at_the_time_limit(tmp_path: Path) -> None:
    file = read(endless_path(tmp_path))
    with pytest.raises(WorkerError, match=r"golden rows within 0\.5 s, got no end; "):
        try_load(file, "cpu", 0.5)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left


def test_a_graph_that_crashes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOAD, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(WorkerError, match="got its death by SIGKILL"):
        try_load(read(policy_path(tmp_path, MAZE_MEDIUM)), "cpu")


def test_a_refusal_is_this_processs_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PolicyFileError(where="file", expected="a", got="b", remedy="c")

    monkeypatch.setattr(LOAD, refuse)
    with pytest.raises(PolicyFileError):
        load_tried(read(policy_path(tmp_path, MAZE_MEDIUM)), "cpu")


def test_ctrl_c_is_heard_meanwhile_and_ends_the_child(tmp_path: Path) -> None:
    file = read(endless_path(tmp_path))
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        try_load(file, "cpu", 60.0)
    assert time.monotonic() - began < 50
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number(tmp_path: Path, limit_s: float) -> None:
    with pytest.raises(UsageError, match="--load-timeout: expected seconds"):
        try_load(read(policy_path(tmp_path, MAZE_MEDIUM)), "cpu", limit_s)
