"""The door of a server with keys: whose key is listed comes in, and who does not is named in the log.

ZeroMQ asks for each connection over a socket of its own (ZAP, RFC 27), and reports handshakes that break off.
Both are answered in the server's own loop, one at a time and only while no robot's message waits: a thread, as
pyzmq's authenticator has one, would take the interpreter from the loop whenever somebody knocks.
"""

import logging
from collections.abc import Mapping
from typing import cast

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from odeploy_runtime.realtime.counters import Counters

log = logging.getLogger(__name__)

_ENDPOINT = "inproc://zeromq.zap.01"  # where ZeroMQ asks
_VERSION = b"1.0"
_BROKEN_OFF = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Doorkeeper:
    """Answers for one server socket. Made before the socket is bound; without it nobody is let in.

    Attributes:
        descriptors: that become readable when somebody knocks.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        allowed: Mapping[bytes, str],
        counters: Counters,
    ) -> None:
        """Listens for ZeroMQ's questions.

        Args:
            context: of the server's socket.
            allowed: the 32 bytes of each key that may connect, and its name.
            counters: gets `refusals:key` and `refusals:handshake`.
        """
        self._allowed, self._counters = allowed, counters
        self._questions = context.socket(zmq.REP)
        self._questions.setsockopt(zmq.LINGER, 0)
        self._questions.bind(_ENDPOINT)
        self._reports: zmq.Socket[bytes] | None = None
        self.descriptors: tuple[int, ...] = (cast(int, self._questions.getsockopt(zmq.FD)),)

    def watch(self, router: "zmq.Socket[bytes]") -> None:
        """Hears of the handshakes that break off at a socket: no key, or not this server's."""
        self._reports = router.get_monitor_socket(_BROKEN_OFF)
        self.descriptors += (cast(int, self._reports.getsockopt(zmq.FD)),)

    def attend(self) -> bool:
        """Answers one question, or hears one report; whether there was one."""
        if cast(int, self._questions.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._questions.send_multipart(self._answer(*self._questions.recv_multipart()))
            return True
        reports = self._reports
        if reports is not None and cast(int, reports.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            endpoint = recv_monitor_message(reports)["endpoint"].decode("utf-8", "replace")
            self._counters.add("refusals:handshake")
            log.warning("rejected at %s: no key, or not for this server", endpoint)
            return True
        return False

    def close(self) -> None:
        """Closes what it listens to; the server's socket is its owner's."""
        if self._reports is not None:
            self._reports.close(linger=0)
        self._questions.close()

    def _answer(
        self, _version: bytes, request: bytes, _domain: bytes, address: bytes, _identity: bytes, *how: bytes
    ) -> tuple[bytes, ...]:
        """ZAP's reply: version, request, status, text, user and metadata."""
        name = self._allowed.get(how[1]) if len(how) == 2 and how[0] == b"CURVE" else None
        if name is not None:
            return _VERSION, request, b"200", b"OK", name.encode(), b""
        self._counters.add("refusals:key")
        key = z85.encode(how[1]).decode() if len(how) == 2 and len(how[1]) == 32 else "none"
        log.warning(
            "rejected %s: its key %s is not listed", address.decode("utf-8", "replace"), key, extra={"key": key}
        )
        return _VERSION, request, b"400", b"", b"", b""
