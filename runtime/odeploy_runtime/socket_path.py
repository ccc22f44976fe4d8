"""Paths of Unix sockets: taken only if nothing is there that another would miss."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from odeploy_runtime.errors import AddressError

MOST_BYTES = 107
"""Length of a Unix socket's path, by the kernel."""


def claim(path: Path, where: str, most_bytes: int = MOST_BYTES) -> None:
    """Make a path free for a socket: remove the one that a killed process left there.

    Args:
        path: path of the socket.
        where: the option that named it, for messages.
        most_bytes: largest length of the path.

    Raises:
        AddressError: too long a path, no such folder, an answering process, something else than a socket, or a
            socket that this user may not remove.
    """
    size = len(os.fsencode(path))
    if size > most_bytes or not path.parent.is_dir():
        raise AddressError(
            where=where,
            expected=f"a path of at most {most_bytes} bytes in an existing folder",
            got=f"{size} bytes in {path.parent}",
            remedy="give a shorter path in an existing folder, such as /tmp/odeploy.ipc",
        )
    try:
        status = path.lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        got = "a folder" if stat.S_ISDIR(status.st_mode) else "a file, which stays as it is"
        raise AddressError(where=where, expected="a free path", got=got, remedy="give another path")
    if answers(path):
        raise in_use(where)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        got = f"a socket of another user ({error.strerror})"
        raise AddressError(where=where, expected="a free path", got=got, remedy="give another path") from None


def in_use(where: str) -> AddressError:
    """Return the error of an address that another process uses."""
    return AddressError(
        where=where,
        expected="a free address",
        got="an address on which another server answers",
        remedy="stop that server or give another address",
    )


@contextlib.contextmanager
def removed_at_end(path: Path) -> Iterator[None]:
    """Remove a socket's file on the way out, unless another process took its place."""
    status = path.lstat()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(status, path.lstat()):
                path.unlink()


def answers(path: Path) -> bool:
    """Return whether a process listens on a Unix socket."""
    # The kernel refuses a connection only if no process has the socket; a full queue or another type is an answer.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
