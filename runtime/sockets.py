"""ZeroMQ sockets as this project uses them: bounded in every way, loopback only, polled to the microsecond."""

import ipaddress
import select
import socket
from pathlib import Path
from typing import cast

import zmq

from runtime.clock import Clock
from runtime.errors import AddressError
from runtime.wire import MAX_FRAME_BYTES

DEFAULT_ENDPOINT = "ipc:///tmp/odeploy.ipc"
_HIGH_WATER_MARK = 8  # 1 loses replies; more lets a restarted server execute stale requests
_RECONNECT_MS = 10
_IPC_PATH_LIMIT = 107


def bind_router(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    """A server's socket.

    Raises:
        AddressError: not an address, already in use, or reachable from other machines (no encryption yet).
    """
    _require_local(endpoint)
    path = _ipc_path(endpoint)
    if path is not None and _answers(path):
        # ZeroMQ would unlink the other server's socket file and take its place without a word.
        raise _in_use(endpoint)
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    router.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        router.close()
        if error.errno == zmq.EADDRINUSE:
            raise _in_use(endpoint) from None
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="ipc:///path or tcp://127.0.0.1:port",
            got=str(error),
            remedy="give another --endpoint",
        ) from None
    return router


def connect_dealer(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    """A robot's socket. It queues nothing while the server is away and is back 10 ms after it returns."""
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    dealer.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    dealer.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    dealer.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
    dealer.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
    try:
        dealer.connect(endpoint)
    except zmq.ZMQError as error:
        dealer.close()
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="ipc:///path or tcp://host:port",
            got=str(error),
            remedy="give the endpoint that `odeploy serve` printed",
        ) from None
    return dealer


def wait_readable(sock: "zmq.Socket[bytes]", deadline_ns: int, clock: Clock) -> bool:
    """Waits for a message until the deadline, which `zmq_poll` would only hold to the millisecond.

    ZeroMQ's descriptor signals edges, so its event flags are read before every wait on it.
    """
    descriptor = cast(int, sock.getsockopt(zmq.FD))
    while not cast(int, sock.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        remaining_ns = deadline_ns - clock.now_ns()
        if remaining_ns <= 0:
            return False
        select.select([descriptor], [], [], remaining_ns * 1e-9)
    return True


def _require_local(endpoint: str) -> None:
    if not endpoint.startswith("tcp://"):
        return
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected="a loopback address: the wire is not encrypted",
            got=host,
            remedy="bind 127.0.0.1 and reach it through an ssh tunnel",
        )


def _ipc_path(endpoint: str) -> str | None:
    if not endpoint.startswith("ipc://"):
        return None
    path = endpoint.removeprefix("ipc://")
    if len(path.encode()) > _IPC_PATH_LIMIT or not Path(path).parent.is_dir():
        raise AddressError(
            where=f"endpoint {endpoint}",
            expected=f"a path of at most {_IPC_PATH_LIMIT} bytes in a folder that exists",
            got=f"{len(path.encode())} bytes in {Path(path).parent}",
            remedy="give a shorter path in an existing folder, such as ipc:///tmp/odeploy.ipc",
        )
    return path


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _in_use(endpoint: str) -> AddressError:
    return AddressError(
        where=f"endpoint {endpoint}",
        expected="a free address",
        got="one on which another server answers",
        remedy="stop that server or give another --endpoint",
    )
