"""Local lane: a `SOCK_SEQPACKET` socket beside a server's `ipc://` address.

It carries the same frames as ZeroMQ, one packet each, without ZeroMQ's I/O threads, and no call on it blocks. The
folder and mode 0600 decide who connects; both ends also check the other's user, since a folder may be shared.
"""

import errno
import os
import socket
import struct
from pathlib import Path

from odeploy_runtime.errors import AddressError
from odeploy_runtime.socket_path import claim, in_use
from odeploy_runtime.transport.gate import backlog
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES

_PRIVATE = 0o600
_ROOT = 0
_CREDENTIALS = struct.Struct("3i")  # process, user, group


def listen(path: Path) -> socket.socket:
    """Return a server's listening socket, accessible to this user alone.

    Raises:
        AddressError: the path is too long or taken, see `odeploy_runtime.socket_path.claim`.
    """
    where = f"lane {path}"
    claim(path, where)
    listener = _new()
    try:
        os.fchmod(listener.fileno(), _PRIVATE)  # before `bind`, which gives the file this mode
        listener.bind(str(path))
        listener.listen(backlog())
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise in_use(where) from None
        remedy = "give another --endpoint"
        raise AddressError(where=where, expected="a socket", got=str(error), remedy=remedy) from None
    return listener


def connect(path: Path) -> socket.socket:
    """Return a robot's end of a lane, without blocking.

    Raises:
        OSError: no server listens there, its queue is full, or it belongs to another user.
    """
    robot = _new()
    try:
        robot.connect(os.fsencode(path))
        require_same_user(robot)
    except BaseException:
        robot.close()
        raise
    return robot


def require_same_user(connection: socket.socket) -> None:
    """Raise a PermissionError unless the peer is of this user or of root."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    if user not in (os.geteuid(), _ROOT):
        raise PermissionError(f"process {process} is user {user}'s")


def send(connection: socket.socket, frame: bytes) -> bool:
    """Send a frame if it can leave now; return whether it did.

    Raises:
        ConnectionError: the lane has ended.
    """
    try:
        connection.send(frame)
    except ConnectionError:
        raise
    except OSError:  # the queue is full, or the frame too long for it
        return False
    return True


def receive(connection: socket.socket) -> bytes | None:
    """Return the next frame.

    Return None if none waits, and an empty one if the lane has ended: it broke, or the peer sent too long a frame.
    """
    try:
        frame = connection.recv(MAX_FRAME_BYTES + 1)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    return frame if len(frame) <= MAX_FRAME_BYTES else b""


def _new() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    return made
