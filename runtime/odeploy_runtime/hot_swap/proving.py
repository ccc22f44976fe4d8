"""Proving a policy file in a child process before the server loads it.

The child checks bytes, signature and golden rows and warms up, as a server does at its start. A graph that
crashes ONNX Runtime, or never returns, ends the child and nothing else. The child gets the very bytes that are
served afterwards, in memory that no later change of the file reaches.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from odeploy_runtime.errors import OdeployError, RefusedError, RelayedError, WorkerError
from odeploy_runtime.inference.policy import Policy, load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import PIPE, Process, ending, kill, python_module, start

_BEGUN, _PROVEN = "begun", "proven"
_MOST_BYTES = 1 << 16
_PROVEN_WITHIN_S = 60.0
_NICE = 10


class Proof:
    """A swap's proof, which another thread may end.

    Attributes:
        ended_by: the request that ended it; None if none has.
    """

    def __init__(self) -> None:
        self.ended_by: str | None = None
        self._process: Process | None = None
        self._lock = threading.Lock()

    def runs_in(self, process: Process) -> None:
        """Name the child process; end it at once if the proof has been ended already."""
        with self._lock:
            self._process = process
            if self.ended_by is not None:
                kill(process)

    def end(self, request: str) -> None:
        """End the child process, and let none begin."""
        with self._lock:
            self.ended_by = self.ended_by or request
            if self._process is not None:
                kill(self._process)

    def require_wanted(self, where: str) -> None:
        """Raise a RefusedError if the proof of this file has been ended."""
        if self.ended_by is not None:
            raise RefusedError(
                where=where,
                expected="its proof to go on",
                got=f"its end by {self.ended_by}",
                remedy="swap again if the file is still to be served",
            )


def prove(data: bytes, where: str, provider: str, signers: Path | None, proof: Proof) -> None:
    """Load and prove a policy file in a child process.

    Args:
        data: bytes of the file.
        where: path of the file, for messages.
        provider: execution provider.
        signers: folder of public keys, one of which must have signed it; None accepts any file.
        proof: lets another thread end the child.

    Raises:
        RefusedError: another thread ended it.
        RelayedError: it is refused; the child's message.
        WorkerError: the child died, or did not answer in time.
    """
    with in_memory(data) as memory:
        arguments = where, provider, *([str(signers)] if signers else [])
        command = python_module("odeploy_runtime.hot_swap.proving", *arguments, orphaned=signal.SIGKILL)
        process = start(command, stdin=memory, stdout=PIPE)
    with process:
        proof.runs_in(process)
        try:
            require_proven(process, where)
        except OdeployError:
            proof.require_wanted(where)  # a better reason than the child's death
            raise
        finally:
            kill(process)


@contextlib.contextmanager
def in_memory(data: bytes) -> Iterator[int]:
    """Yield a descriptor of bytes in memory, for a child process's standard input."""
    memory = os.memfd_create("odeploy-policy")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(memory, 0, os.SEEK_SET)
        yield memory
    finally:
        os.close(memory)


def require_proven(process: Process, where: str) -> None:
    """Wait until a child reports its file as proven; errors as in `prove`."""
    assert process.stdout is not None
    deadline, begun, text = time.monotonic() + _PROVEN_WITHIN_S, False, b""
    while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        received = os.read(process.stdout.fileno(), _MOST_BYTES)
        if not received:
            raise _unproven(process, where, ending(process.wait()), begun)
        *lines, text = (text + received).split(b"\n")
        for line in lines:
            if line == _PROVEN.encode():
                return
            if line != _BEGUN.encode():
                raise RelayedError(line.decode(errors="replace"))
            begun = True
    raise _unproven(process, where, f"none within {_PROVEN_WITHIN_S:g} s", begun)


def _unproven(process: Process, where: str, got: str, begun: bool) -> WorkerError:
    """Return the error of a child that gave no answer.

    Only one that had begun may have failed because of the file.
    """
    if begun:
        remedy = "try again; if nothing else ended the process, the file is at fault: export it again"
    else:
        remedy = "read its output in the server's log: it failed before it read the file"
    return WorkerError(
        where=f"{where}, child process {process.pid}", expected="the file to load", got=got, remedy=remedy
    )


def proven(where: str, provider: str, signers: Path | None) -> Policy | None:
    """Load the file on standard input, and report the result to the parent process.

    Runs in the child. Return None if the file is refused.
    """
    os.nice(_NICE)
    _report(_BEGUN)
    try:
        file = parse(Path(where), sys.stdin.buffer.read())
        if signers is not None:
            from odeploy_runtime.policy_file.signature import require_signed

            require_signed(file, signers)
        policy = load_policy(file, provider)
    except OdeployError as error:
        _report(str(error))
        return None
    _report(_PROVEN)
    return policy


def _report(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - to the parent


if __name__ == "__main__":
    proven(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if sys.argv[3:] else None)
