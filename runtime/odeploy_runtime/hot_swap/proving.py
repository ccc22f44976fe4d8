"""A candidate: a policy file that a child process has proven before the server loads it.

Bytes, signature, golden rows and warm-up, just as at the start of a server. A graph that ends ONNX Runtime, or
never ends itself, takes the child along and nobody else. The child is given the very bytes that are served
afterwards, in memory that no file's later change reaches.
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
from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import python_module

_PROVEN = "proven"
_PROVEN_WITHIN_S = 60.0
_NICE = 10
_PR_SET_PDEATHSIG = 1


def prove(data: bytes, where: str, provider: str, signers: Path | None) -> None:
    """Has a policy file loaded and proven by a child process.

    Args:
        data: of the file.
        where: its path, for messages.
        provider: execution provider.
        signers: folder of public keys, one of which must have signed it; None where anybody may.

    Raises:
        RelayedError: it is refused; in the child's words.
        WorkerError: the child died, or did not end.
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
    """Bytes as a descriptor that a child process can be given as its standard input."""
    memory = os.memfd_create("odeploy-policy")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(memory, 0, os.SEEK_SET)
        yield memory
    finally:
        os.close(memory)


def require_proven(process: "subprocess.Popen[bytes]", where: str) -> None:
    """Waits until a child has said that its file is good; errors as of `prove`."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _PROVEN_WITHIN_S)[0]:
        got = f"none within {_PROVEN_WITHIN_S:g} s"
    else:
        said = process.stdout.readline().decode(errors="replace").strip()
        if said == _PROVEN:
            return
        if said:
            raise RelayedError(said)
        code = process.wait()
        got = f"its death by {signal.Signals(-code).name}" if code < 0 else f"its exit with {code}"
    raise WorkerError(
        where=f"{where}, child process {process.pid}",
        expected="that it loads the file",
        got=got,
        remedy="try again; if it was not ended by somebody, the file is at fault: export it anew",
    )


def proven(where: str, provider: str, signers: Path | None) -> Policy | None:
    """In a child: loads the file on its standard input, and says so or why not; None if it is refused."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it ends with its server
    os.nice(_NICE)
    try:
        file = parse(Path(where), sys.stdin.buffer.read())
        if signers is not None:
            from odeploy_runtime.policy_file.signature import require_signed

            require_signed(file, signers)
        policy = load_policy(file, provider)
    except OdeployError as error:
        _say(str(error))
        return None
    _say(_PROVEN)
    return policy


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - to the parent


if __name__ == "__main__":
    proven(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if sys.argv[3:] else None)
