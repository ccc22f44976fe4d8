"""Connection gate: new connections wait while few descriptors are left.

Each connection takes a descriptor, and libzmq aborts the process when `accept` finds none for a Unix socket (for
TCP it waits). It accepts up to 50 connections a millisecond, in a thread of its own. So another thread counts the
free descriptors, more often the fewer there are, and moves the socket file out of reach before they are gone.
Connected robots keep their connections; others find no server and retry.
"""

import contextlib
import logging
import resource
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from odeploy_runtime.realtime.counters import Counters

log = logging.getLogger(__name__)

_DESCRIPTORS = Path("/proc/self/fd")
_MOST_WAITING = 1024  # robots that connect simultaneously
_BURST = 256  # connections accepted between two looks: 5 ms of them
_OWN = 64  # descriptors that must be free above the reserve before the gate opens
_ACCEPT_S = 20e-6  # of one connection, at the fastest
_SHORTEST_S, _LONGEST_S = 0.001, 0.1


def limit() -> int:
    """Return the number of descriptors that this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_limit() -> int:
    """Raise the limit of descriptors as far as allowed; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def backlog() -> int:
    """Return how many connections may wait to be accepted: all of them will be."""
    return min(_MOST_WAITING, limit() // 8)


def reserve() -> int:
    """Return the number of free descriptors below which the gate closes."""
    return min(backlog() + _BURST, limit() // 2)


@contextlib.contextmanager
def gate(endpoint: str, counters: Counters) -> Iterator[None]:
    """Hold off connections to an endpoint while few descriptors are free.

    Few is fewer than `reserve()`.

    Args:
        endpoint: address as bound; only `ipc://path` has a gate.
        counters: gets `endpoint_closed`.
    """
    path = Path(endpoint.removeprefix("ipc://"))
    if not endpoint.startswith("ipc://") or not path.is_socket():
        yield
        return
    end = threading.Event()
    thread = threading.Thread(target=_watch, args=(path, end, counters), name="gate", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _watch(path: Path, end: threading.Event, counters: Counters) -> None:
    hidden, wait_s = None, _SHORTEST_S
    while not end.wait(wait_s):
        free = limit() - _open_descriptors()
        if hidden is None and free < reserve():
            hidden = _hide(path)
            counters.set("endpoint_closed", 1)
            log.warning("%d descriptors are left of %d: no new connections at %s", free, limit(), path)
        elif hidden is not None and free >= reserve() + _OWN:
            _show(hidden, path)
            hidden = None
            counters.set("endpoint_closed", 0)
            log.info("%d descriptors are free: connections at %s again", free, path)
        # Before the next look, connections can take half of what is left above the reserve.
        spare_s = _LONGEST_S if hidden is not None else (free - reserve()) * _ACCEPT_S / 2
        wait_s = min(max(spare_s, _SHORTEST_S), _LONGEST_S)
    if hidden is not None:
        _show(hidden, path)


def _hide(path: Path) -> Path:
    """Move the socket file into a folder of this user alone."""
    hidden = Path(tempfile.mkdtemp(prefix=".odeploy-", dir=path.parent)) / path.name
    path.rename(hidden)
    return hidden


def _show(hidden: Path, path: Path) -> None:
    """Move the socket file back, unless another server took its place."""
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(hidden)
    hidden.unlink()
    hidden.parent.rmdir()


def _open_descriptors() -> int:
    count = _DESCRIPTORS.stat().st_size
    return count or sum(1 for _ in _DESCRIPTORS.iterdir())  # before Linux 6.2 the size is 0
