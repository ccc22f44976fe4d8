"""CURVE authentication (ZAP, RFC 27): accepts listed keys, logs rejected ones.

ZeroMQ sends a request for each connection over a socket of its own, and reports failed handshakes. The server's
loop handles both, one at a time and only while no robot's message waits. A thread, as in pyzmq's authenticator,
would take the interpreter from the loop at every connection attempt.
"""

import logging
from collections.abc import Mapping
from typing import cast

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from odeploy_runtime.realtime.counters import Counters

log = logging.getLogger(__name__)

_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by RFC 27
_VERSION = b"1.0"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Authenticator:
    """Authentication of one server socket.

    Create it before binding the socket: without it, every connection is rejected.

    Attributes:
        descriptors: file descriptors that become readable when there is a request or a report.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        allowed: Mapping[bytes, str],
        counters: Counters,
    ) -> None:
        """Listen for ZeroMQ's requests.

        Args:
            context: context of the server's socket.
            allowed: accepted public keys, 32 bytes each -> name.
            counters: counters with `refusals:key` and `refusals:handshake`.
        """
        self._allowed, self._counters = allowed, counters
        self._requests = context.socket(zmq.REP)
        self._requests.setsockopt(zmq.LINGER, 0)
        self._requests.bind(_ENDPOINT)
        self._reports: zmq.Socket[bytes] | None = None
        self.descriptors: tuple[int, ...] = (cast(int, self._requests.getsockopt(zmq.FD)),)

    def watch(self, router: "zmq.Socket[bytes]") -> None:
        """Log failed handshakes of the server's socket.

        They have no key, or the key of another server.
        """
        self._reports = router.get_monitor_socket(_FAILED)
        self.descriptors += (cast(int, self._reports.getsockopt(zmq.FD)),)

    def run_once(self) -> bool:
        """Answer one request or log one report; return whether there was one."""
        if cast(int, self._requests.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._requests.send_multipart(self._answer(*self._requests.recv_multipart()))
            return True
        reports = self._reports
        if reports is not None and cast(int, reports.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            endpoint = recv_monitor_message(reports)["endpoint"].decode("utf-8", "replace")
            self._counters.add("refusals:handshake")
            log.warning("rejected at %s: no key, or not for this server", endpoint)
            return True
        return False

    def close(self) -> None:
        """Stop listening; the server's socket stays open."""
        if self._reports is not None:
            self._reports.close(linger=0)
        self._requests.close()

    def _answer(
        self, _version: bytes, request: bytes, _domain: bytes, address: bytes, _identity: bytes, *how: bytes
    ) -> tuple[bytes, ...]:
        """Return the ZAP reply: version, request, status, text, user and metadata."""
        name = self._allowed.get(how[1]) if len(how) == 2 and how[0] == b"CURVE" else None
        if name is not None:
            return _VERSION, request, b"200", b"OK", name.encode(), b""
        self._counters.add("refusals:key")
        key = z85.encode(how[1]).decode() if len(how) == 2 and len(how[1]) == 32 else "none"
        log.warning(
            "rejected %s: its key %s is not listed", address.decode("utf-8", "replace"), key, extra={"key": key}
        )
        return _VERSION, request, b"400", b"", b"", b""
