"""The control socket of a server: the only way to swap its policy.

Nothing on the network can.

A Unix socket that only this user of this machine can open. Threads of the server's process wait on it and do all
that takes time, so the loop never waits, and no request waits behind a slow one. The client sends the opened file,
so the server serves that very file even if it may not open the path itself.
"""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack

from odeploy_runtime.errors import OdeployError, RelayedError, UnreachableError
from odeploy_runtime.socket_path import claim
from odeploy_runtime.transport.address import CONTROL, socket_file

_MOST_BYTES, _MOST_FILES = 8192, 2
_SENT_WITHIN_S = 1.0
_ANSWERED_WITHIN_S = 120.0
_END_S = 0.5
_RETRY_S = 0.1

Answer = Callable[[Sequence[str], Sequence[int]], str]
"""Executes a request of several words, with files as descriptors that it leaves open; returns one line.

Each request has a thread of its own.
"""


def control_path(endpoint: str) -> Path | None:
    """Return the default path of an endpoint's control socket, beside its socket file.

    Return None for an endpoint without a socket file.
    """
    path = socket_file(endpoint)
    return None if path is None else path.with_name(path.name + CONTROL)


class ControlSocket:
    """The server's end."""

    def __init__(self, path: Path, answer: Answer) -> None:
        """Bind the socket, for this user alone, and accept requests in a thread.

        Raises:
            AddressError: no such folder, too long a path, or the path is taken.
        """
        claim(path, f"--control {path}")
        self._path, self._answer = path, answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close and remove the socket."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        self._thread.join(_END_S)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    return  # closed
                time.sleep(_RETRY_S)
            else:
                threading.Thread(target=self._serve, args=(connection,), name="request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # a client that sends nothing, or leaves before the answer
            connection.settimeout(_SENT_WITHIN_S)
            self._reply(connection)

    def _reply(self, connection: socket.socket) -> None:
        frame, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, _MOST_FILES)
        try:
            words = msgpack.unpackb(frame)
            done, line = True, self._answer(words, descriptors)
        except OdeployError as error:
            done, line = False, str(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours, or garbage: the server continues
            done, line = False, f"the server failed at this: {type(error).__name__}: {error}"
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.send(msgpack.packb((done, line)))


def request(server: str, words: Sequence[str], descriptors: Sequence[int] = ()) -> str:
    """Send a request to a server of this machine; return its line.

    Args:
        server: endpoint of the server, or path of its control socket.
        words: the request.
        descriptors: descriptors of the opened files that belong to the request.

    Raises:
        UnreachableError: no server has its control socket there, or it does not answer.
        RelayedError: the server refused.
    """
    path = control_path(server) or Path(server)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(_ANSWERED_WITHIN_S)
        try:
            client.connect(str(path))
            socket.send_fds(client, [msgpack.packb(list(words))], list(descriptors))
            frame = client.recv(_MOST_BYTES)
        except OSError as error:
            raise _unreachable(path, error.strerror or type(error).__name__) from None
    if not frame:
        raise _unreachable(path, "its end")
    done, line = msgpack.unpackb(frame)
    if not done:
        raise RelayedError(line)
    return str(line)


def _unreachable(path: Path, got: str) -> UnreachableError:
    return UnreachableError(
        where=f"control socket {path}",
        expected="the answer of a server of this machine and user",
        got=got,
        remedy="give --server the endpoint ipc:///path that `odeploy serve` printed, or its --control path",
    )
