"""Child processes: started as a module or verb, and ended with their parent."""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from odeploy_runtime.errors import RelayedError, UnreachableError
from odeploy_runtime.logging_options import inherited

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 3.0


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs an installed module in a Python of its own.

    `-P` keeps the working directory off its import path: a `numpy.py` or `runtime.py` there stays a file.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


@contextlib.contextmanager
def child(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command beside this process, output to `log`; end it on the way out.

    It gets a process group of its own, so a Ctrl-C at the terminal reaches it only through its parent, once.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def serving(policy: Path, extra: Sequence[str] = ()) -> Iterator[str]:
    """Serve a policy file in a child process, which logs as this one does.

    Yield its endpoint once bound.

    Raises:
        RelayedError: the server ended at once; its message is passed on.
    """
    with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
        socket, log = Path(folder) / "server.ipc", Path(folder) / "server.log"
        arguments = ["--endpoint", f"ipc://{socket}", *inherited().log_arguments(), *extra]
        command = python_module("odeploy", "serve", str(policy), *arguments)
        with child(command, log) as process:
            wait_bound(socket, process, log)
            yield f"ipc://{socket}"


def wait_bound(socket: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a child has bound its socket.

    Raises:
        RelayedError: the child ended instead.
        UnreachableError: neither happened in time.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not socket.exists():
        if process.poll() is not None:
            raise child_error(log)
        if time.monotonic() > deadline:
            raise UnreachableError(
                where=f"child process {process.pid}",
                expected=f"a bound socket within {_START_TIMEOUT_S:g} s",
                got="none",
                remedy="run odeploy serve by hand and read its output",
            )
        time.sleep(0.01)


def child_error(log: Path) -> RelayedError:
    """Return the last line of a failed child's log as an error of this process."""
    lines = [line.strip("│ ") for line in log.read_text(errors="replace").splitlines() if re.search(r"\w", line)]
    return RelayedError(lines[-1].removeprefix("odeploy ") if lines else "a child process ended without a message")


def ending(status: int | None) -> str:
    """Return how a child process ended: `its death by SIGKILL`, `its exit with 1`."""
    if status is not None and status < 0:
        return f"its death by {signal.Signals(-status).name}"
    return f"its exit with {status}"
