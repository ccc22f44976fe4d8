"""The echo server of the lower bounds: replies of an action's size.

    python -m odeploy_sim.bench.echo_server FILE RATE ENDPOINT

It runs the pre-touch of a real server ahead of every other message: of those after odd sequence numbers, since the
client counts its own even ticks as touched.
"""

import sys
from pathlib import Path

import zmq

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.pretouch import Arrivals, PreTouch
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import bind_router, receive, send_at_once

_WAIT_NS = 1_000_000_000


def echo(endpoint: str, policy: OnnxPolicy, rate_hz: float) -> None:
    """Reply until the process is killed."""
    clock, m = MonotonicClock(), policy.manifest
    touch, arrivals, period_ns = PreTouch(policy.hot_call_ns, clock), Arrivals(), round(1e9 / rate_hz)
    now_ns = clock.now_ns()
    values = bytes(4 * m.horizon * len(m.action))
    reply = messages.pack(messages.Action(1 << 47, 1, 1, 1, 0, now_ns, now_ns, now_ns, now_ns, values))
    with zmq.Context[zmq.Socket[bytes]]() as context:
        router, begin_ns = bind_router(context, endpoint), None
        while True:
            message = None if begin_ns is None else receive(router, begin_ns, clock)
            if message is None and begin_ns is not None:
                touch.run(policy.touch)
            while message is None:
                message = receive(router, clock.now_ns() + _WAIT_NS, clock)
            identity, frame = message
            received_ns = clock.now_ns()
            send_at_once(router, identity, reply)
            request = messages.unpack(frame)
            assert isinstance(request, messages.Observation)
            expected_ns = arrivals.next_ns(request.sent_ns, received_ns, period_ns)
            begin_ns = touch.begin_ns(expected_ns, period_ns) if request.seq % 2 else None


def main(file: str, rate_hz: str, endpoint: str) -> None:
    """Echo with the settings of a real-time loop, as a server has them."""
    policy = OnnxPolicy.load(Path(file))
    with real_time():
        echo(endpoint, policy, float(rate_hz))


if __name__ == "__main__":
    main(*sys.argv[1:])
