"""ZeroMQ sockets: bounded queues, private by default, polled to the microsecond.

Beyond this machine a server listens only with CURVE keys, unless it is explicitly insecure.
"""

import select
from typing import cast

import zmq

from odeploy_runtime.errors import AddressError
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.socket_path import in_use
from odeploy_runtime.transport.address import claim_address, require_allowed
from odeploy_runtime.transport.gate import backlog
from odeploy_runtime.transport.keys import KeyPair, RobotKeys, read_pair, read_public
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES

DEFAULT_ENDPOINT = "ipc:///tmp/odeploy.ipc"
_HIGH_WATER_MARK = 8  # 1 loses replies; more lets a restarted server execute stale requests
_RECONNECT_MS = 5  # up to twice that, by libzmq; takes 1 to 3 % of a core while the server is away
_HANDSHAKE_MS = 2000  # then a silent connection is closed; ZeroMQ's 30 s let them pile up
ZAP_DOMAIN = b"odeploy"


def bind_router(
    context: "zmq.Context[zmq.Socket[bytes]]",
    endpoint: str,
    keys: KeyPair | None = None,
    insecure: bool = False,
) -> "zmq.Socket[bytes]":
    """Return a server's socket, bound.

    Args:
        context: context of the process; with keys, it needs an `Authenticator`, or every connection is rejected.
        endpoint: address to bind.
        keys: the server's keys; robots then need keys too.
        insecure: listen beyond this machine without keys.

    Raises:
        AddressError: not an address, already in use, or open to other machines or users without keys.
    """
    require_allowed(endpoint, private=keys is None and not insecure)
    claim_address(endpoint)
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # reports what could not be sent, instead of dropping it silently
    router.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    router.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
    router.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)  # a peer that sends more waits; others get their turn
    router.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    router.setsockopt(zmq.BACKLOG, backlog())
    if keys is not None:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it, a missing authenticator would accept every key
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        router.close()
        if error.errno == zmq.EADDRINUSE:
            raise in_use(f"endpoint {endpoint}") from None
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="ipc:///path or tcp://127.0.0.1:port",
            got=str(error),
            remedy="give another --endpoint",
        ) from None
    return router


def connect_dealer(
    context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, keys: RobotKeys | None = None
) -> "zmq.Socket[bytes]":
    """Return a robot's socket.

    It queues nothing while the server is away, and reconnects within 10 ms.

    Raises:
        AddressError: not an address.
        MissingError, FormatError: an unusable key.
    """
    curve = None if keys is None else (read_pair(keys.own), read_public(keys.server))
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    dealer.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    dealer.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    dealer.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
    dealer.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
    if curve is not None:
        own, server = curve
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
        dealer.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, server)
    try:
        dealer.connect(endpoint)
    except zmq.ZMQError as error:
        dealer.close()
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="ipc:///path or tcp://host:port",
            got=str(error),
            remedy="give the endpoint printed by `odeploy serve`",
        ) from None
    return dealer


def receive(sock: "zmq.Socket[bytes]", deadline_ns: int, clock: Clock) -> list[bytes] | None:
    """Return the frames of the next message, or None at the deadline.

    `zmq_poll` would keep the deadline only to the millisecond. Reading comes first and waiting only if nothing has
    arrived: checking for a message or for more frames takes 2 to 7 µs each in pyzmq. ZeroMQ's descriptor signals
    edges, so the socket is read again after every wait.
    """
    while (frames := read_message(sock)) is None:
        remaining_ns = deadline_ns - clock.now_ns()
        if remaining_ns <= 0:
            return None
        select.select([cast(int, sock.getsockopt(zmq.FD))], [], [], remaining_ns * 1e-9)
    return frames


def read_message(sock: "zmq.Socket[bytes]") -> list[bytes] | None:
    """Return the frames of the next message; None if none waits."""
    try:
        frame = sock.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None
    frames = [frame.bytes]
    while frame.more:
        frame = sock.recv(copy=False)
        frames.append(frame.bytes)
    return frames


def send_at_once(sock: "zmq.Socket[bytes]", *frames: bytes) -> bool:
    """Send a message if it can leave now; return whether it did.

    Without a peer, or with a full queue, drop it.

    While sending, ZeroMQ checks at most once per millisecond what the other end has read. After eight messages
    within less it may report an empty queue as full; reading EVENTS makes it check.
    """
    if _has_left(sock, frames):
        return True
    sock.getsockopt(zmq.EVENTS)
    return _has_left(sock, frames)


def _has_left(sock: "zmq.Socket[bytes]", frames: tuple[bytes, ...]) -> bool:
    try:
        for frame in frames[:-1]:  # a third of the time of send_multipart
            sock.send(frame, zmq.SNDMORE | zmq.NOBLOCK)
        sock.send(frames[-1], zmq.NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            raise
        return False
    return True
