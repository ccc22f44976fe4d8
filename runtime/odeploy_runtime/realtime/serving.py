"""A server as a child process of a robot or a bench."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.logging_options import inherited
from odeploy_runtime.realtime.child_process import Process, child, child_error, python_module

_START_TIMEOUT_S = 45.0  # a server itself refuses a file that takes 30 s to load


@contextlib.contextmanager
def serving(policy: str | Path, extra: Sequence[str] = ()) -> Iterator[str]:
    """Serve a policy file in a child process, which logs as this one does.

    Yield its endpoint once bound. `extra` are options of `odeploy serve`.

    Raises:
        RelayedError: the server ended at once; its message is passed on.
    """
    with tempfile.TemporaryDirectory(prefix="odeploy-") as made:
        folder = Path(made)
        socket, log = folder / "s.ipc", folder / "server.log"
        arguments = ["--endpoint", f"ipc://{socket}", *inherited().log_arguments(), *extra]
        command = python_module("odeploy", "serve", str(policy), *arguments, folder=folder)
        with child(command, log) as process:
            wait_bound(socket, process, log)
            yield f"ipc://{socket}"


def wait_bound(socket: Path, process: Process, log: Path) -> None:
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
