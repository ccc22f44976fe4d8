"""How a robot's frames get to its server and back: over a socket of its own, or through a courier process."""

import contextlib
import select
import signal
import socket
import subprocess
from typing import Protocol

import zmq

from odeploy_runtime.errors import RelayedError, WorkerError
from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport.io_process import TOUCH
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import connect_dealer, receive, send_at_once

_START_S = 30.0
_END_S = 0.5


class Link(Protocol):
    """Carries whole frames; nothing in it blocks beyond the deadline that it is given.

    Attributes:
        endpoint: of the server.
    """

    endpoint: str

    def put(self, frame: bytes) -> bool:
        """Hands a frame over; whether it could leave at once. If not, it is gone."""

    def wait(self, deadline_ns: int) -> bool:
        """Whether `take` has something, before the deadline."""

    def take(self) -> bytes | None:
        """The next frame; `UNSENT` where one that was put did not leave, None where nothing will come any more."""

    def touch(self) -> None:
        """Warms the way of a frame without sending one."""

    def require_alive(self) -> None:
        """Raises a WorkerError where nothing can come any more."""

    def close(self, linger_ms: int = 0) -> None:
        """Closes; what was put leaves within `linger_ms`, or not at all."""


class DealerLink:
    """A ZeroMQ socket in this process: the shorter way, on which a client that hangs hangs its robot too."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        clock: Clock,
        keys: RobotKeys | None = None,
    ) -> None:
        self.endpoint, self._clock = endpoint, clock
        self._socket = connect_dealer(context, endpoint, keys)
        self._frame: bytes | None = None  # that waits to be taken

    def put(self, frame: bytes) -> bool:
        """Hands a frame over; whether it could leave at once. If not, it is gone."""
        return send_at_once(self._socket, frame)

    def wait(self, deadline_ns: int) -> bool:
        """Whether `take` has something, before the deadline."""
        if self._frame is None:
            frames = receive(self._socket, deadline_ns, self._clock)
            if frames is not None:
                self._frame = frames[0] if len(frames) == 1 else b""  # no server says more than one
        return self._frame is not None

    def take(self) -> bytes:
        """The next frame; `wait` has said that there is one."""
        frame, self._frame = self._frame, None
        assert frame is not None
        return frame

    def touch(self) -> None:
        """Warms the way of a frame without sending one."""
        self._socket.getsockopt(zmq.EVENTS)

    def require_alive(self) -> None:
        """Never dies before its process does."""

    def close(self, linger_ms: int = 0) -> None:
        """Closes; what was put leaves within `linger_ms`, or not at all."""
        self._socket.close(linger=linger_ms)


class CourierLink:
    """A courier process with the ZeroMQ socket in it.

    Whatever becomes of the courier, stopped, killed or in an endless loop, this end neither blocks nor fails:
    nothing arrives, and the guard decides. Packets of a socket pair keep frames whole, tell of a death at both
    ends, and nobody polls.

    Attributes:
        endpoint: of the server.
        process: the courier.
    """

    def __init__(
        self, endpoint: str, clock: Clock, keys: RobotKeys | None = None, priority: int | None = None
    ) -> None:
        """Starts the courier and waits until it has its socket; it reads the keys itself.

        Args:
            endpoint: of the server.
            clock: of all deadlines.
            keys: the robot's own and its server's.
            priority: the courier's, of `odeploy_runtime.realtime.scheduling`.

        Raises:
            RelayedError: it could not connect; its own message is passed on.
            WorkerError: it did not start.
        """
        self.endpoint, self._clock = endpoint, clock
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = [] if keys is None else [str(keys.own), str(keys.server)]
        with theirs:
            arguments = endpoint, str(theirs.fileno()), str(priority or ""), *paths
            self.process = subprocess.Popen(
                python_module("odeploy_runtime.transport.io_process", *arguments),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal is for the robot alone
            )
        self._gone = False
        try:
            self._hear_first()
        except BaseException:
            self.close()
            raise

    def put(self, frame: bytes) -> bool:
        """Hands a frame to the courier, who sends the newest of those that wait."""
        try:
            self._socket.send(frame)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def wait(self, deadline_ns: int) -> bool:
        """Whether `take` has something, before the deadline."""
        remaining_ns = max(0, deadline_ns - self._clock.now_ns())
        if self._gone:
            self._clock.sleep_until_ns(deadline_ns)
            return False
        return bool(select.select([self._socket], [], [], remaining_ns * 1e-9)[0])

    def take(self) -> bytes | None:
        """The next frame; `UNSENT` where one that was put did not leave, None where the courier is dead."""
        frame = b""
        with contextlib.suppress(ConnectionResetError):
            frame = self._socket.recv(MAX_FRAME_BYTES)
        self._gone = not frame
        return frame or None

    def touch(self) -> None:
        """Wakes the courier, which then finds its way warm."""
        self.put(TOUCH)

    def require_alive(self) -> None:
        """Raises a WorkerError that says how the courier died, if it did."""
        if not self._gone:
            return
        code = self.process.wait(_END_S)
        raise WorkerError(
            where=f"courier process {self.process.pid}",
            expected="that it carries frames until it is told to end",
            got=f"its death by {signal.Signals(-code).name}" if code < 0 else f"its exit with {code}",
            remedy="see who killed it and what it printed; the robot went to its safe action",
        )

    def close(self, linger_ms: int = 0) -> None:
        """Ends the courier, which sends what it was given last, within `linger_ms`."""
        self._socket.close()
        try:
            self.process.wait(linger_ms / 1e3 + _END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _hear_first(self) -> None:
        self._socket.settimeout(_START_S)
        try:
            said = self.take()
        except TimeoutError:
            raise WorkerError(
                where=f"courier process {self.process.pid}",
                expected=f"a sign of life within {_START_S:g} s",
                got="none",
                remedy="see whether this machine is overloaded, and start again",
            ) from None
        self.require_alive()
        if said is not None and said != TOUCH:
            raise RelayedError(said.decode())
        self._socket.setblocking(False)
