"""Real-time settings of a process: priority, core, memory, timers, collector.

Everything is tried and nothing is required: a container may refuse to root what a desktop grants to a user. The
obtained settings go into the log and into the trace's header.
"""

import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from odeploy_runtime.errors import UsageError

_PR_SET_TIMERSLACK = 29
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14
_IO_THREADS = "ZMQbg/IO"  # as libzmq names them


@dataclass(frozen=True, kw_only=True)
class RealTimeOptions:
    """Options of real-time scheduling.

    They are off by default, since they take resources from the rest of the machine.
    """

    priority: int | None = None
    """Real-time priority, 1 to 99 (SCHED_FIFO): all ordinary work waits for this loop. Needs root, CAP_SYS_NICE or
    `ulimit -r`; if refused, the loop runs without it and logs that."""
    core: int | None = None
    """Processor core to which the loop is pinned."""

    def require_possible(self) -> None:
        """Raise a UsageError for an invalid priority or a core that cannot be used."""
        if self.priority is not None and not 1 <= self.priority <= 99:
            raise UsageError(
                where="--priority", expected="1 to 99", got=str(self.priority), remedy="give for example 80"
            )
        cores = os.sched_getaffinity(0)
        if self.core is not None and self.core not in cores:
            raise UsageError(
                where="--core",
                expected=f"one of {', '.join(map(str, sorted(cores)))}",
                got=str(self.core),
                remedy="give one of these, or leave the option out",
            )

    def for_server(self) -> list[str]:
        """Return the priority as arguments of a server: two loops do not share a core."""
        return [] if self.priority is None else ["--priority", str(self.priority)]

    def for_robot(self) -> list[str]:
        """Return priority and core as arguments of the robot's process."""
        return self.for_server() + ([] if self.core is None else ["--core", str(self.core)])


@contextmanager
def real_time(priority: int | None = None) -> Iterator[dict[str, str]]:
    """Prepare this process for a loop; yield the obtained settings by name.

    A timer slack of 1 ns needs no privilege. Memory is locked page by page as it is used, so it takes no more than
    before. The garbage collector is frozen: a full collection of a large heap takes over 100 ms. A priority
    applies to this thread and to ZeroMQ's; threads and processes started later are ordinary ones.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    obtained = {
        "timer slack": "1 ns" if libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0 else "default (refused)",
        "memory": "locked" if libc.mlockall(_lockable()) == 0 else "not locked (refused)",
        "garbage collector": "frozen",
        "scheduling": _set_priority(priority),
    }
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield obtained
    finally:
        gc.enable()
        gc.unfreeze()
        libc.munlockall()
        if obtained["scheduling"].startswith("FIFO"):
            os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin this thread to a core.

    Threads started before, and their children, stay unpinned.
    """
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _lockable() -> int:
    """Return the flags of mlockall.

    Lock future memory only if no limit can make an allocation fail.
    """
    flags = _MCL_CURRENT | _MCL_ONFAULT
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    return flags | _MCL_FUTURE if unlimited or _effective_capabilities() >> _CAP_IPC_LOCK & 1 else flags


def _effective_capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))


def _set_priority(priority: int | None) -> str:
    if priority is None:
        return "ordinary"
    param = os.sched_param(priority)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, param)
    except PermissionError:
        return f"ordinary (FIFO {priority} refused)"
    for thread in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if (thread / "comm").read_text().startswith(_IO_THREADS):
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, param)
    return f"FIFO {priority}"
