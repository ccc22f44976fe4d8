"""Proving a policy file in a child process before the server loads it.

The child checks bytes, signature and golden rows and warms up, as a server does at its start. A graph that
crashes ONNX Runtime, or never returns, ends the child and nothing else. The child gets the very bytes that are
served afterwards, in memory that no later change of the file reaches.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from odeploy_runtime.errors import OdeployError, RelayedError, WorkerError
from odeploy_runtime.inference.policy import Policy, load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import ending, python_module

_PROVEN = "proven"
_PROVEN_WITHIN_S = 60.0
_NICE = 10
_PR_SET_PDEATHSIG = 1


def prove(data: bytes, where: str, provider: str, signers: Path | None) -> None:
    """Load and prove a policy file in a child process.

    Args:
        data: bytes of the file.
        where: path of the file, for messages.
        provider: execution provider.
        signers: folder of public keys, one of which must have signed it; None accepts any file.

    Raises:
        RelayedError: it is refused; the child's message.
        WorkerError: the child died, or did not answer in time.
    """
    with in_memory(data) as memory:
        process = subprocess.Popen(
            python_module(
                "odeploy_runtime.hot_swap.proving", where, provider, *([str(signers)] if signers else [])
            ),
            stdin=memory,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for the server alone
        )
    with process:
        try:
            require_proven(process, where)
        finally:
            process.kill()


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


def require_proven(process: "subprocess.Popen[bytes]", where: str) -> None:
    """Wait until a child reports its file as proven; errors as in `prove`."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _PROVEN_WITHIN_S)[0]:
        got = f"none within {_PROVEN_WITHIN_S:g} s"
    else:
        line = process.stdout.readline().decode(errors="replace").strip()
        if line == _PROVEN:
            return
        if line:
            raise RelayedError(line)
        got = ending(process.wait())
    raise WorkerError(
        where=f"{where}, child process {process.pid}",
        expected="the file to load",
        got=got,
        remedy="try again; if nothing else ended the process, the file is at fault: export it again",
    )


def proven(where: str, provider: str, signers: Path | None) -> Policy | None:
    """Load the file on standard input, and report the result to the parent process.

    Runs in the child. Return None if the file is refused.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it ends with its server
    os.nice(_NICE)
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
