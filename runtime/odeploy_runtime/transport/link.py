"""Links between robot and server: a socket here, or one in an I/O process."""

import contextlib
import select
import signal
import socket
from typing import Protocol

import zmq

from odeploy_runtime.errors import RelayedError, WorkerError
from odeploy_runtime.realtime.child_process import ending, python_module, start, wait_or_kill
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport.io_process import TOUCH
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import connect_dealer, receive, send_at_once

_START_S = 30.0
_END_S = 0.5


class Link(Protocol):
    """Transport of whole frames; no call blocks beyond its deadline.

    Attributes:
        endpoint: address of the server.
        transport: `lane`, `zmq` or `in process`, for reports.
    """

    endpoint: str

    @property
    def transport(self) -> str:
        """How its frames travel."""

    def put(self, frame: bytes) -> bool:
        """Send a frame; return whether it could leave at once. If not, it is dropped."""

    def wait(self, deadline_ns: int) -> bool:
        """Wait for a frame; return whether one arrived before the deadline."""

    def take(self) -> bytes | None:
        """Return the next frame.

        Return `UNSENT` if a frame could not be sent, None if nothing can arrive any more.
        """

    def touch(self) -> None:
        """Bring the code and data of a send into the caches, without sending."""

    def require_alive(self) -> None:
        """Raise a WorkerError if nothing can arrive any more."""

    def close(self, linger_ms: int = 0) -> None:
        """Close; frames not sent within `linger_ms` are dropped."""


class DealerLink:
    """Link through a ZeroMQ socket in this process.

    It is shorter, but a hanging socket hangs the robot too.
    """

    transport = "zmq"

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        clock: Clock,
        keys: RobotKeys | None = None,
    ) -> None:
        self.endpoint, self._clock = endpoint, clock
        self._socket = connect_dealer(context, endpoint, keys)
        self._frame: bytes | None = None  # received, not yet taken

    def put(self, frame: bytes) -> bool:
        """Send a frame; return whether it could leave at once. If not, it is dropped."""
        return send_at_once(self._socket, frame)

    def wait(self, deadline_ns: int) -> bool:
        """Wait for a frame; return whether one arrived before the deadline."""
        if self._frame is None:
            frames = receive(self._socket, deadline_ns, self._clock)
            if frames is not None:
                self._frame = frames[0] if len(frames) == 1 else b""  # no server sends more than one
        return self._frame is not None

    def take(self) -> bytes:
        """Return the next frame; call it only after `wait` returned True."""
        frame, self._frame = self._frame, None
        assert frame is not None
        return frame

    def touch(self) -> None:
        """Bring the code and data of a send into the caches, without sending."""
        self._socket.getsockopt(zmq.EVENTS)

    def require_alive(self) -> None:
        """Do nothing: this link lives as long as its process."""

    def close(self, linger_ms: int = 0) -> None:
        """Close; frames not sent within `linger_ms` are dropped."""
        self._socket.close(linger=linger_ms)


class IoProcessLink:
    """Link through an I/O process that holds the ZeroMQ socket.

    If the I/O process is stopped, killed or in an endless loop, this end neither blocks nor fails: nothing
    arrives, and the guard decides. A socket pair keeps frames whole, reports a death at both ends and needs no
    polling.

    Attributes:
        endpoint: address of the server.
        process: the I/O process.
    """

    transport = "zmq"

    def __init__(
        self, endpoint: str, clock: Clock, keys: RobotKeys | None = None, priority: int | None = None
    ) -> None:
        """Start the I/O process and wait for its socket; it reads the keys itself.

        Args:
            endpoint: address of the server.
            clock: clock of all deadlines.
            keys: the robot's own key and its server's.
            priority: real-time priority of the I/O process, see `odeploy_runtime.realtime.scheduling`.

        Raises:
            RelayedError: it cannot connect; its message is passed on.
            WorkerError: it did not start.
        """
        self.endpoint, self._clock = endpoint, clock
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = [] if keys is None else [str(keys.own), str(keys.server)]
        with theirs:
            arguments = endpoint, str(theirs.fileno()), str(priority or ""), *paths
            command = python_module("odeploy_runtime.transport.io_process", *arguments, orphaned=signal.SIGKILL)
            self.process = start(command, pass_fds=[theirs.fileno()])
        self._gone = False
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def put(self, frame: bytes) -> bool:
        """Hand a frame to the I/O process, which sends only the newest one waiting."""
        try:
            self._socket.send(frame)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def wait(self, deadline_ns: int) -> bool:
        """Wait for a frame; return whether one arrived before the deadline."""
        remaining_ns = max(0, deadline_ns - self._clock.now_ns())
        if self._gone:
            self._clock.sleep_until_ns(deadline_ns)
            return False
        return bool(select.select([self._socket], [], [], remaining_ns * 1e-9)[0])

    def take(self) -> bytes | None:
        """Return the next frame.

        Return `UNSENT` if a frame could not be sent, None if the I/O process is dead.
        """
        frame = b""
        with contextlib.suppress(ConnectionResetError):
            frame = self._socket.recv(MAX_FRAME_BYTES)
        self._gone = not frame
        return frame or None

    def touch(self) -> None:
        """Wake the I/O process, so that its code and data are in the caches."""
        self.put(TOUCH)

    def require_alive(self) -> None:
        """Raise a WorkerError with the cause of death if the I/O process is dead."""
        if not self._gone:
            return
        raise WorkerError(
            where=f"I/O process {self.process.pid}",
            expected="frames until the end of the run",
            got=ending(self.process.wait(_END_S)),
            remedy="check its output and what killed it; the robot went to its safe action",
        )

    def close(self, linger_ms: int = 0) -> None:
        """End the I/O process, which sends its last frame within `linger_ms`."""
        self._socket.close()
        wait_or_kill(self.process, linger_ms / 1e3 + _END_S)

    def _await_ready(self) -> None:
        self._socket.settimeout(_START_S)
        try:
            received = self.take()
        except TimeoutError:
            raise WorkerError(
                where=f"I/O process {self.process.pid}",
                expected=f"a sign of life within {_START_S:g} s",
                got="none",
                remedy="check whether this machine is overloaded, and start again",
            ) from None
        self.require_alive()
        if received is not None and received != TOUCH:
            raise RelayedError(received.decode())
        self._socket.setblocking(False)
