"""The echo server of the lower bounds: replies of an action's size.

    python -m odeploy_sim.bench.echo_server FILE RATE ENDPOINT [lane|zmq]

It runs the pre-touch of a real server ahead of every other message: of those after odd sequence numbers, since the
client counts its own even ticks as touched.
"""

import contextlib
import select
import socket
import sys
from pathlib import Path
from typing import Protocol

import zmq

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.pretouch import Arrivals, PreTouch
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.transport import lane, messages
from odeploy_runtime.transport.address import lane_file
from odeploy_runtime.transport.sockets import bind_router, receive, send_at_once

_WAIT_NS = 1_000_000_000


class Socket(Protocol):
    """One client's connection."""

    def receive(self, deadline_ns: int) -> bytes | None:
        """Return the next frame, or None at the deadline."""

    def reply(self, frame: bytes) -> None:
        """Send to the client that sent the last frame."""


class LaneSocket:
    """Local lane of the first client."""

    def __init__(self, endpoint: str, clock: Clock, stack: contextlib.ExitStack) -> None:
        path = lane_file(endpoint)
        assert path is not None
        listener = stack.enter_context(lane.listen(path))
        select.select([listener], [], [])
        self._socket: socket.socket = stack.enter_context(listener.accept()[0])
        self._socket.setblocking(False)
        self._clock = clock

    def receive(self, deadline_ns: int) -> bytes | None:
        """Return the next frame, or None at the deadline. End the process with the client."""
        remaining_ns = max(0, deadline_ns - self._clock.now_ns())
        if not select.select([self._socket], [], [], remaining_ns * 1e-9)[0]:
            return None
        frame = lane.receive(self._socket)
        if frame == b"":
            raise SystemExit
        return frame

    def reply(self, frame: bytes) -> None:
        """Send to the client."""
        lane.send(self._socket, frame)


class RouterSocket:
    """ZeroMQ socket of any client."""

    def __init__(self, endpoint: str, clock: Clock, stack: contextlib.ExitStack) -> None:
        context = stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        self._socket = stack.enter_context(bind_router(context, endpoint))
        self._clock, self._identity = clock, b""

    def receive(self, deadline_ns: int) -> bytes | None:
        """Return the next frame, or None at the deadline."""
        message = receive(self._socket, deadline_ns, self._clock)
        if message is None:
            return None
        self._identity, frame = message
        return frame

    def reply(self, frame: bytes) -> None:
        """Send to the client that sent the last frame."""
        send_at_once(self._socket, self._identity, frame)


def echo(sock: Socket, policy: OnnxPolicy, rate_hz: float, clock: Clock) -> None:
    """Reply until the process is killed."""
    m = policy.manifest
    touch, arrivals, period_ns = PreTouch(policy.hot_call_ns, clock), Arrivals(), round(1e9 / rate_hz)
    now_ns = clock.now_ns()
    values = bytes(4 * m.horizon * len(m.action))
    reply = messages.pack(messages.Action(1 << 47, 1, 1, 1, 0, now_ns, now_ns, now_ns, now_ns, values))
    begin_ns = None
    while True:
        frame = None if begin_ns is None else sock.receive(begin_ns)
        if frame is None and begin_ns is not None:
            touch.run(policy.touch)
        while frame is None:
            frame = sock.receive(clock.now_ns() + _WAIT_NS)
        received_ns = clock.now_ns()
        sock.reply(reply)
        request = messages.unpack(frame)
        assert isinstance(request, messages.Observation)
        expected_ns = arrivals.next_ns(request.sent_ns, received_ns, period_ns)
        begin_ns = touch.begin_ns(expected_ns, period_ns) if request.seq % 2 else None


def main(file: str, rate_hz: str, endpoint: str, transport: str = "zmq") -> None:
    """Echo with the settings of a real-time loop, as a server has them."""
    policy, clock = OnnxPolicy.load(Path(file)), MonotonicClock()
    with contextlib.ExitStack() as stack:
        stack.enter_context(real_time())
        kind = LaneSocket if transport == "lane" else RouterSocket
        echo(kind(endpoint, clock, stack), policy, float(rate_hz), clock)


if __name__ == "__main__":
    main(*sys.argv[1:])
