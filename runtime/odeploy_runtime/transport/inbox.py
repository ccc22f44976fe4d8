"""A server's connections in one `epoll`: local lanes, ZeroMQ and deadlines.

Sources take turns: each lane gives one frame a round, ZeroMQ one message, the listener one connection. A flood on
one lane thus costs the others one frame's time; ZeroMQ itself takes turns among its connections.

ZeroMQ's descriptor signals edges, and a message may wait behind an edge that any other call has consumed. So after
its descriptor was readable, and after a send, the socket is read until it is empty.
"""

import contextlib
import itertools
import logging
import select
import socket
from collections import deque
from collections.abc import Container
from typing import NamedTuple, Protocol, cast

import zmq

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.gate import limit
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import read_message, send_at_once

log = logging.getLogger(__name__)

_MOST_LANES = 3072  # all sessions, and some that wait for one
_MOST_EVENTS = 64
_CLOSED_AFTER_NS = 5_000_000_000


class SideTask(Protocol):
    """Work between messages, one unit at a time.

    Attributes:
        descriptors: file descriptors that become readable when there is work.
    """

    descriptors: tuple[int, ...]

    def run_once(self) -> bool:
        """Do one unit of work; return whether there was any."""


class Received(NamedTuple):
    """A message of a connection.

    Attributes:
        identity: identity of the connection.
        frames: its frames; none if the connection has ended.
    """

    identity: bytes
    frames: list[bytes]


class Inbox:
    """Frames of all connections of a server.

    Attributes:
        most_lanes: limit of the number of lanes; more wait to be accepted.
    """

    def __init__(
        self,
        router: "zmq.Socket[bytes]",
        clock: Clock,
        listener: socket.socket | None = None,
        auth: SideTask | None = None,
    ) -> None:
        """Read a server's sockets, which remain the caller's.

        Args:
            router: ZeroMQ socket, bound.
            clock: clock of all deadlines.
            listener: see `lane.listen`; None without lanes.
            auth: decides which keys may connect; None without keys.
        """
        self.most_lanes = min(_MOST_LANES, limit() // 2)
        self._router, self._clock, self._listener, self._auth = router, clock, listener, auth
        self._router_descriptor = cast(int, router.getsockopt(zmq.FD))
        self._unread = True  # whether the router may have messages
        self._epoll = select.epoll()
        self._ready: deque[int] = deque()
        self._lanes: dict[bytes, socket.socket] = {}
        self._identities: dict[int, bytes] = {}
        self._heard: set[bytes] = set()  # lanes that sent something since the last `close_idle`
        self._idle_since_ns: dict[bytes, int] = {}
        self._numbers = itertools.count()
        self._accepts = False
        for descriptor in (self._router_descriptor, *(() if auth is None else auth.descriptors)):
            self._epoll.register(descriptor, select.EPOLLIN)
        self._accept_again()

    def receive(self, deadline_ns: int) -> Received | None:
        """Return the next message, or None at the deadline.

        A message that waits already comes before a deadline that has passed.
        """
        looked = False
        while True:
            while self._ready:
                received = self._take(self._ready.popleft())
                if received is not None:
                    return received
            found, remaining_ns = self._look(), deadline_ns - self._clock.now_ns()
            if remaining_ns <= 0 and (looked or not found):
                return None
            looked = True
            if not found:
                # `epoll` itself would keep the deadline only to the millisecond.
                select.select([self._epoll.fileno()], [], [], remaining_ns * 1e-9)

    def send(self, identity: bytes, frame: bytes) -> bool:
        """Send a frame if it can leave now, or drop it; return whether it left."""
        connection = self._lanes.get(identity)
        if connection is not None:
            with contextlib.suppress(ConnectionError):  # its end is read in its turn
                return lane.send(connection, frame)
            return False
        self._unread = True
        return send_at_once(self._router, identity, frame)

    def close_idle(self, sessions: Container[bytes]) -> None:
        """Close lanes without a session that have sent nothing for 5 s.

        Call it several times a second.

        Args:
            sessions: identities of the connections that have a session.
        """
        now_ns = self._clock.now_ns()
        for identity in list(self._lanes):
            if identity in self._heard or identity in sessions:
                self._idle_since_ns.pop(identity, None)
            elif now_ns - self._idle_since_ns.setdefault(identity, now_ns) >= _CLOSED_AFTER_NS:
                self._end(identity)
        self._heard.clear()
        self._accept_again()

    def close(self) -> None:
        """Close all lanes."""
        for identity in list(self._lanes):
            self._end(identity)
        self._epoll.close()

    def _look(self) -> bool:
        """Do one unit of authentication, and note the sources that may have something.

        Return whether there was any of it.
        """
        authenticated = self._auth is not None and self._auth.run_once()
        self._ready.extend(descriptor for descriptor, _ in self._epoll.poll(0, _MOST_EVENTS))
        if self._unread and self._router_descriptor not in self._ready:
            self._ready.append(self._router_descriptor)
        return authenticated or bool(self._ready)

    def _take(self, descriptor: int) -> Received | None:
        identity = self._identities.get(descriptor)
        if identity is not None:
            frame = lane.receive(self._lanes[identity])
            if frame is None:
                return None
            if not frame:
                self._end(identity)
                return Received(identity, [])
            self._heard.add(identity)
            return Received(identity, [frame])
        if descriptor == self._router_descriptor:
            message = read_message(self._router)
            self._unread = message is not None
            return None if message is None else Received(message[0], message[1:])
        if self._listener is not None and descriptor == self._listener.fileno():
            self._accept(self._listener)
        return None

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor is left
            log.warning("no new lane: %s", error)
            self._accept_no_more(listener)
            return
        connection.setblocking(False)
        try:
            lane.require_same_user(connection)
        except OSError as error:
            log.warning("rejected on the lane: %s", error)
            connection.close()
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_FRAME_BYTES)
        # A client's own ZeroMQ identity never begins with 0, and one that ZeroMQ chooses has five bytes.
        identity = b"\0lane%d" % next(self._numbers)
        self._lanes[identity] = connection
        self._identities[connection.fileno()] = identity
        self._idle_since_ns[identity] = self._clock.now_ns()
        self._epoll.register(connection, select.EPOLLIN)
        if len(self._lanes) >= self.most_lanes:
            log.warning("%d lanes are open: no new ones", len(self._lanes))
            self._accept_no_more(listener)

    def _accept_no_more(self, listener: socket.socket) -> None:
        self._epoll.unregister(listener)
        self._accepts = False

    def _accept_again(self) -> None:
        if self._listener is not None and not self._accepts and len(self._lanes) < self.most_lanes:
            self._epoll.register(self._listener, select.EPOLLIN)
            self._accepts = True

    def _end(self, identity: bytes) -> None:
        connection = self._lanes.pop(identity)
        del self._identities[connection.fileno()]
        self._idle_since_ns.pop(identity, None)
        with contextlib.suppress(OSError):
            self._epoll.unregister(connection)
        connection.close()
