"""Child processes: every one is started here, and none outlives its parent.

A child imports nothing from the working directory and has a session of its own, so a Ctrl-C at the terminal
reaches it only through its parent, once. It ends on every way out of its parent: the parent ends it, and if the
parent is killed, the kernel does (`child_main.py`).
"""

import contextlib
import multiprocessing
import os
import re
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import IO, NoReturn

from odeploy_runtime.errors import RelayedError
from odeploy_runtime.realtime.child_main import end_with_parent

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
Process = subprocess.Popen[bytes]
TimeoutExpired = subprocess.TimeoutExpired
_END_TIMEOUT_S = 3.0


def python_module(
    module: str, *arguments: str, orphaned: signal.Signals | None = signal.SIGTERM, folder: Path | None = None
) -> list[str]:
    """Return the command line that runs an installed module in a Python of its own.

    `-P` keeps the working directory off its import path: a `numpy.py` or `runtime.py` there stays a file.

    Args:
        module: name of the module.
        arguments: its arguments.
        orphaned: signal that ends it when this process is killed: SIGTERM if it then removes files or writes a
            checkpoint, SIGKILL if it has nothing to do and may hang; None if it ends by itself, after its work.
        folder: its temporary folder, which it removes if this process has been killed.
    """
    known = str(os.getpid()), str(int(orphaned or 0)), str(folder or "")
    return [sys.executable, "-P", "-m", "odeploy_runtime.realtime.child_main", *known, module, *arguments]


def start(
    command: Sequence[str],
    *,
    stdin: int | IO[bytes] = DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a command in a session and process group of its own.

    The arguments are those of `subprocess.Popen`.
    """
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        env=environment,
        start_new_session=True,
    )


def end(process: Process, within_s: float = _END_TIMEOUT_S) -> None:
    """End a process by SIGTERM, or kill it with its group after a while."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        wait_or_kill(process, within_s)


def wait_or_kill(process: Process, within_s: float) -> int:
    """Return the exit status of a process that is about to end.

    Kill it and its group if it has not ended in time.
    """
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.wait()


def kill(process: Process) -> None:
    """Kill a process and what else is in its group, unless it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def child(
    command: Sequence[str], log: Path, end_within_s: float = _END_TIMEOUT_S, pass_fds: Sequence[int] = ()
) -> Iterator[Process]:
    """Run a command beside this process, output to `log`; end it on the way out."""
    with log.open("wb") as output:
        process = start(command, stdout=output, stderr=STDOUT, pass_fds=pass_fds)
    try:
        yield process
    finally:
        end(process, end_within_s)


def finish(
    command: Sequence[str], *, stdout: int | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a command to its end.

    Args:
        command: the command line.
        stdout: PIPE to return the output; None to share this process's.
        environment: its environment; None for this process's.

    Returns:
        Exit status, and what it wrote to stdout and stderr.
    """
    with start(command, stdout=stdout, stderr=PIPE, environment=environment) as process:
        try:
            output, errors = process.communicate()
        finally:
            end(process)
    return process.returncode, (output or b"").decode(errors="replace"), errors.decode(errors="replace")


def forked(work: Callable[[], object], limit_s: float) -> int | None:
    """Run a function in a fork of this process; signals are handled meanwhile.

    A fork takes a twentieth of the time of a new interpreter. Threads must hold no lock that the function needs.

    Returns:
        The fork's exit status: 0 also after an exception; None if it was killed after `limit_s`.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, such as those of BLAS
        process = os.fork()
    if process == 0:
        _work_and_exit(work, parent)
    status = None
    descriptor = os.pidfd_open(process)
    try:
        if select.select([descriptor], [], [], limit_s)[0]:
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        os.close(descriptor)
        if status is None:
            with contextlib.suppress(ProcessLookupError):  # its group is not there yet
                os.killpg(process, signal.SIGKILL)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    return status


def _work_and_exit(work: Callable[[], object], parent: int) -> NoReturn:
    try:
        end_with_parent(parent, signal.SIGKILL)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(Exception):
            work()
    finally:
        os._exit(0)


def end_worker_with_parent() -> None:
    """Kill this worker process, started by `spawning`, when its parent dies."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    end_with_parent(parent.pid, signal.SIGKILL)


@contextlib.contextmanager
def spawning() -> Iterator[SpawnContext]:
    """Yield the context that starts worker processes.

    They import nothing from the working directory. A fork would copy the locks of the caller's threads.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield multiprocessing.get_context("spawn")
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def child_error(log: Path) -> RelayedError:
    """Return the last line of a failed child's log as an error of this process."""
    lines = [line.strip("│ ") for line in log.read_text(errors="replace").splitlines() if re.search(r"\w", line)]
    return RelayedError(lines[-1].removeprefix("odeploy ") if lines else "a child process ended without a message")


def ending(status: int | None) -> str:
    """Return how a child process ended: `its death by SIGKILL`, `its exit with 1`."""
    if status is not None and status < 0:
        return f"its death by {signal.Signals(-status).name}"
    return f"its exit with {status}"
