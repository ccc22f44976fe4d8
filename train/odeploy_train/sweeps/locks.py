"""Locks in a shared folder: one process at a time works on a run.

A cluster starts a lost machine's runs again elsewhere. A machine may count as lost while its training still writes
a last checkpoint.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(name: Path) -> Iterator[int]:
    """Wait for the lock of a name, and hold it.

    Yields:
        A descriptor for children to inherit. The lock is free when the last process with it has ended, so a child
        whose parent was killed keeps it.
    """
    with name.with_name(f".{name.name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # NFS has it too, between machines
        yield file.fileno()
