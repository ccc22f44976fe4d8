"""Workers: after any failure nothing hangs, and no process remains."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from gymnasium.error import ClosedEnvironmentError

from odeploy_runtime.errors import RelayedError, WorkerError
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks import vector_worker
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_worker import WorkerVectorEnv
from tests.unit.sim_bridge.brittle import BRITTLE, push


@pytest.fixture
def doomed() -> Iterator[WorkerVectorEnv]:
    with closing(make_vector(BRITTLE, 3, workers=2)) as made:
        assert isinstance(made, WorkerVectorEnv)
        made.reset()
        yield made


def living(vector: WorkerVectorEnv) -> int:
    return len({w.process.pid for w in vector.workers} & {p.pid for p in multiprocessing.active_children()})


def test_a_workers_error_is_raised_in_the_parent() -> None:
    before = multiprocessing.active_children()
    wider = dataclasses.replace(BRITTLE, action=(*BRITTLE.action, Signal("pull", "1", -1, 1)), safe_action=())
    with pytest.raises(RelayedError, match="expected 2 actions and 2 observations"):
        make_vector(wider, 2, workers=1)
    assert set(multiprocessing.active_children()) == set(before)


@pytest.mark.parametrize("when", ["between steps", "during a step"])
def test_a_killed_worker_is_an_error_and_not_a_hang(doomed: WorkerVectorEnv, when: str) -> None:
    if when == "during a step":
        doomed.step_async(push(0, 0, -0.9))
        with pytest.raises(WorkerError, match=r"worker 1 of 3 × brittle: .* its exit with 3"):
            doomed.step_wait()
    else:
        os.kill(doomed.workers[0].process.pid or 0, signal.SIGKILL)
        doomed.workers[0].process.join()
        with pytest.raises(WorkerError, match=r"worker 0 of 3 × brittle: .* its death by SIGKILL"):
            doomed.step(push(0, 0, 0))
    assert living(doomed) == 0
    with pytest.raises(ClosedEnvironmentError):
        doomed.step(push(0, 0, 0))


def test_an_unresponsive_worker_is_named_and_ended(
    doomed: WorkerVectorEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_worker, "ANSWER_S", 1)
    os.kill(doomed.workers[1].process.pid or 0, signal.SIGSTOP)
    with pytest.raises(WorkerError, match=r"worker 1 of 3 × brittle: expected an answer within 1 s, got none"):
        doomed.step(push(0, 0, 0))
    assert [worker.process.exitcode for worker in doomed.workers] == [0, -signal.SIGKILL]
    with pytest.raises(ClosedEnvironmentError):
        doomed.step(push(0, 0, 0))


def test_a_step_waits_for_a_briefly_stopped_worker(doomed: WorkerVectorEnv) -> None:
    stopped = doomed.workers[1].process.pid or 0
    os.kill(stopped, signal.SIGSTOP)
    resume = threading.Timer(1.5, os.kill, (stopped, signal.SIGCONT))
    resume.start()
    observations, *_ = doomed.step(push(0, 0, 0))
    resume.join()
    assert (observations[:, 1] == 1).all()


def test_workers_ignore_ctrl_c(doomed: WorkerVectorEnv) -> None:
    for worker in doomed.workers:
        os.kill(worker.process.pid or 0, signal.SIGINT)
    doomed.step(push(0, 0, 0))
    assert all(worker.process.is_alive() for worker in doomed.workers)


@pytest.mark.parametrize("pending", [False, True])
def test_after_closing_no_worker_remains(doomed: WorkerVectorEnv, pending: bool) -> None:
    if pending:
        doomed.step_async(push(0, 0, 0))
    assert living(doomed) == 2
    doomed.close()
    assert living(doomed) == 0
    assert [worker.process.exitcode for worker in doomed.workers] == [0, 0]


PARENT = """
import sys, time
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.tasks.vector import make_vector

vector = make_vector(HOPPER, 2, workers=2)
vector.reset()
print(*(worker.process.pid for worker in vector.workers), flush=True)
time.sleep(60)
"""


def test_workers_end_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
