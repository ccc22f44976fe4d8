"""The control socket of a server: through it, and through nothing on the network, its policy is exchanged.

A Unix socket of the server's own process that this user of this machine alone can open. A thread sleeps on it;
it does all that takes time, so the loop never waits. Whoever asks hands over the file opened, so the server
serves what was asked for, wherever it is allowed to look itself.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack

from odeploy_runtime.errors import AddressError, OdeployError, RelayedError, UnreachableError

_PATH_LIMIT = 107
_MOST_BYTES, _MOST_FILES = 8192, 2
_SAID_WITHIN_S = 1.0
_ANSWERED_WITHIN_S = 120.0
_END_S = 0.5

Answer = Callable[[Sequence[str], Sequence[int]], str]
"""Does what the words ask for, with files as descriptors that it leaves open; returns one line."""


def control_of(endpoint: str) -> Path | None:
    """Where the control socket of an endpoint is, if nobody says: beside its socket file, if it has one."""
    path = f"{endpoint.removeprefix('ipc://')}.control"
    if not endpoint.startswith("ipc://") or path.startswith("@") or len(path.encode()) > _PATH_LIMIT:
        return None
    return Path(path)


class Control:
    """The server's end."""

    def __init__(self, path: Path, answer: Answer) -> None:
        """Binds the socket, for this user alone, and waits in a thread for who asks.

        Raises:
            AddressError: no such folder, too long a path, or something is there.
        """
        if not path.parent.is_dir() or len(str(path).encode()) > _PATH_LIMIT or _is_taken(path):
            raise AddressError(
                where=f"--control {path}",
                expected=f"a path of at most {_PATH_LIMIT} bytes in a folder that exists, with nothing there yet",
                got="something there" if path.exists() else f"{len(str(path).encode())} bytes in {path.parent}",
                remedy="give another path, or an endpoint with a shorter one",
            )
        path.unlink(missing_ok=True)  # what a killed server left there
        self._path, self._answer = path, answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Closes and removes the socket; what is being done is given half a second."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        self._thread.join(_END_S)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._socket.accept()
                # Who says nothing, or leaves before the answer, holds up nobody.
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(_SAID_WITHIN_S)
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        frame, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, _MOST_FILES)
        try:
            words = msgpack.unpackb(frame)
            done, line = True, self._answer(words, descriptors)
        except OdeployError as error:
            done, line = False, str(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours, or nonsense: the server serves on
            done, line = False, f"the server failed at this: {type(error).__name__}: {error}"
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.send(msgpack.packb((done, line)))


def ask(server: str, words: Sequence[str], descriptors: Sequence[int] = ()) -> str:
    """Has a server of this machine do something; returns its line.

    Args:
        server: its endpoint, or the path of its control socket.
        words: the request.
        descriptors: of opened files that go with it.

    Raises:
        UnreachableError: no server has its control there, or it does not answer.
        RelayedError: it said no.
    """
    path = control_of(server) or Path(server)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(_ANSWERED_WITHIN_S)
        try:
            asking.connect(str(path))
            socket.send_fds(asking, [msgpack.packb(list(words))], list(descriptors))
            frame = asking.recv(_MOST_BYTES)
        except OSError as error:
            raise _unreachable(path, error.strerror or type(error).__name__) from None
    if not frame:
        raise _unreachable(path, "its end")
    done, line = msgpack.unpackb(frame)
    if not done:
        raise RelayedError(line)
    return str(line)


def _is_taken(path: Path) -> bool:
    """Whether something is there that is not the socket of a server that has ended."""
    if not path.is_socket():
        return path.exists() or path.is_symlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _unreachable(path: Path, got: str) -> UnreachableError:
    return UnreachableError(
        where=f"control socket {path}",
        expected="the answer of a server of this machine and user",
        got=got,
        remedy="give --server the endpoint ipc:///path that `odeploy serve` printed, or its --control path",
    )
