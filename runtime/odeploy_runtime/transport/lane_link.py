"""The robot's link over a local lane.

No call on a lane blocks, so it needs no I/O process: whatever the server does, a wait ends at its deadline. The
next `put` connects a broken lane again. The server then does not have the robot's session: it requests one.
"""

import select
import socket
from pathlib import Path

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.io_process import UNSENT

_QUEUED = 8  # frames; with more, a server that was stopped would execute stale ones
_SIZE_STEP = 512
_KERNEL_BYTES = 1024  # what the kernel counts for a frame besides its bytes


class LaneLink:
    """Link through a local lane.

    Attributes:
        endpoint: address of the server.
        transport: `lane`.
    """

    transport = "lane"

    def __init__(self, endpoint: str, path: Path, clock: Clock) -> None:
        """Prepare a link; `connect` or the first `put` connects it.

        Args:
            endpoint: address of the server.
            path: its lane.
            clock: clock of all deadlines.
        """
        self.endpoint, self._path, self._clock = endpoint, path, clock
        self._socket: socket.socket | None = None
        self._steps = -1  # of the frames that the queue is sized for

    def connect(self) -> bool:
        """Connect, in one attempt; return whether there is a lane to be trusted."""
        self._break()
        try:
            self._socket = lane.connect(self._path)
        except OSError:
            return False
        return True

    def put(self, frame: bytes) -> bool:
        """Send a frame; return whether it could leave at once. If not, it is dropped.

        A lane that is broken is connected before.
        """
        try:
            if self._socket is not None:
                return self._send(self._socket, frame)
        except ConnectionError:
            pass
        try:
            return self.connect() and self._socket is not None and self._send(self._socket, frame)
        except ConnectionError:
            return False

    def wait(self, deadline_ns: int) -> bool:
        """Wait for a frame; return whether one arrived before the deadline."""
        if self._socket is None:
            self._clock.sleep_until_ns(deadline_ns)
            return False
        remaining_ns = max(0, deadline_ns - self._clock.now_ns())
        return bool(select.select([self._socket], [], [], remaining_ns * 1e-9)[0])

    def take(self) -> bytes | None:
        """Return the next frame; call it only after `wait` returned True.

        Return `UNSENT` if the lane broke: a frame under way is lost.
        """
        assert self._socket is not None
        frame = lane.receive(self._socket)
        if frame == b"":
            self._break()
            return UNSENT
        return frame

    def touch(self) -> None:
        """Bring the code and data of a wait into the caches, without sending."""
        if self._socket is not None:
            select.select([self._socket], [], [], 0)

    def require_alive(self) -> None:
        """Do nothing: a broken lane is connected again."""

    def close(self, linger_ms: int = 0) -> None:  # noqa: ARG002 - a lane keeps what was sent without waiting
        """Close; the server still reads what was sent."""
        self._break()

    def _send(self, connection: socket.socket, frame: bytes) -> bool:
        steps = len(frame) // _SIZE_STEP + 1
        if steps != self._steps:
            self._steps = steps
            most_bytes = _QUEUED * (steps * _SIZE_STEP + _KERNEL_BYTES)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, most_bytes // 2)  # the kernel doubles it
        return lane.send(connection, frame)

    def _break(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._steps = None, -1
