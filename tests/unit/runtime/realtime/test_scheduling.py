import ctypes
import gc
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime import scheduling as kernel
from odeploy_runtime.realtime.scheduling import RealTimeOptions, pinned, real_time

_FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


def _granted() -> bool:
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, _FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, before | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    return True


def _locked_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmLck"))


def test_a_refused_priority_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with real_time(40) as obtained:
        assert obtained["scheduling"] == "ordinary (FIFO 40 refused)"


def test_it_reports_what_it_obtained_and_restores_the_garbage_collector() -> None:
    assert gc.isenabled()
    with real_time() as obtained:
        assert obtained.keys() == {"timer slack", "memory", "garbage collector", "scheduling"}
        assert obtained["scheduling"] == "ordinary"
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_it_restores_the_garbage_collector_after_an_error_too() -> None:
    with pytest.raises(KeyboardInterrupt), real_time():
        raise KeyboardInterrupt
    assert gc.isenabled()


def test_reported_memory_locking_is_the_kernels() -> None:
    with real_time() as obtained:
        assert (_locked_kb() > 0) == (obtained["memory"] == "locked")
    assert _locked_kb() == 0


def test_future_memory_is_locked_only_without_a_limit_that_could_fail_an_allocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requested = []

    class Libc:
        def prctl(self, *_: int) -> int:
            return 0

        def mlockall(self, flags: int) -> int:
            requested.append(flags)
            return -1

        def munlockall(self) -> int:
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Libc())
    for capabilities, limit in ((1 << 14, 8192), (~(1 << 14), resource.RLIM_INFINITY), (~(1 << 14), 8192)):
        monkeypatch.setattr(kernel, "_effective_capabilities", lambda c=capabilities: c)
        monkeypatch.setattr(resource, "getrlimit", lambda _, r=limit: (r, r))
        with real_time() as obtained:
            assert obtained["memory"] == "not locked (refused)"
    future = 2
    assert [flags & future for flags in requested] == [future, future, 0]


@pytest.mark.skipif(not _granted(), reason="this user gets no real-time priority")
def test_a_priority_applies_to_the_loop_and_its_sockets_and_to_no_later_thread_or_process() -> None:
    with zmq.Context[zmq.Socket[bytes]]() as context, context.socket(zmq.DEALER) as socket:
        socket.bind("inproc://here")
        with real_time(40) as obtained:
            assert obtained["scheduling"] == "FIFO 40"
            assert os.sched_getscheduler(0) == _FIFO
            assert os.sched_getparam(0).sched_priority == 40
            prioritised = [
                thread
                for thread in Path("/proc/self/task").iterdir()
                if os.sched_getscheduler(int(thread.name)) == _FIFO
            ]
            others = [thread for thread in prioritised if int(thread.name) != os.getpid()]
            assert {(thread / "comm").read_text().strip() for thread in others} == {"ZMQbg/IO/0"}
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
            thread.start()
            thread.join()
            child = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
            seen.append(int(subprocess.check_output(child)))
            assert seen == [os.SCHED_OTHER, os.SCHED_OTHER]
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER


def test_a_loop_is_pinned_to_its_core_and_earlier_threads_are_not() -> None:
    cores = os.sched_getaffinity(0)
    core = max(cores)
    go, seen = threading.Event(), []

    def look() -> None:
        go.wait()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=look)
    thread.start()
    with pinned(core):
        assert os.sched_getaffinity(0) == {core}
        go.set()
        thread.join()
    assert seen == [cores]
    assert os.sched_getaffinity(0) == cores
    with pinned(None):
        assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize(
    ("options", "where", "expected"),
    [
        (RealTimeOptions(priority=0), "--priority", "1 to 99"),
        (RealTimeOptions(priority=100), "--priority", "1 to 99"),
        (RealTimeOptions(core=4096), "--core", "one of"),
        (RealTimeOptions(core=-1), "--core", "one of"),
    ],
)
def test_impossible_options_are_refused(options: RealTimeOptions, where: str, expected: str) -> None:
    with pytest.raises(UsageError, match=rf"{where}: expected {expected}"):
        options.require_possible()


def test_a_server_gets_the_priority_and_a_robot_priority_and_core() -> None:
    RealTimeOptions().require_possible()
    both = RealTimeOptions(priority=7, core=0)
    assert both.for_server() == ["--priority", "7"]
    assert both.for_robot() == ["--priority", "7", "--core", "0"]
    assert RealTimeOptions().for_robot() == []
