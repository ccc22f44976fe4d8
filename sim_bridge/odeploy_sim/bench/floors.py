"""The floors under a round trip: the bare socket and the bare inference, paced like the real loop.

A figure for a server means little without what the machine takes for an echo of the same bytes over the
same socket, and for the naked session call, at the same rate in the same run. Both are measured with and
without the server's pre-touch, tick by tick in turn, so that drift of the machine falls on both alike.

    python -m odeploy_sim.bench.floors FILE --rate 100 --ticks 200 --out floors.json
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
import zmq

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.child_process import child, python_module, wait_bound
from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.pretouch import Arrivals, PreTouch
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.transport import messages as wire
from odeploy_runtime.transport.sockets import bind_router, connect_dealer, receive, send_at_once

_REPLY_WAIT_NS = 1_000_000_000
_SETTLING_TICKS = 20


@dataclass(frozen=True)
class Config:
    """Measures the bare session call and the bare echo of one policy file at one rate."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file: its inference, its vector sizes."""
    rate: float
    """Ticks per second."""
    ticks: int = 200
    """Of each floor; half of them with pre-touch."""
    out: Path = Path("floors.json")
    """Where the durations go: lists of ns."""
    echo: str | None = None
    """Be the echo server at this endpoint; what the program starts for itself."""


def main() -> None:
    """Measures, or echoes."""
    config = tyro.cli(Config, prog="python -m odeploy_sim.bench.floors")
    policy = OnnxPolicy.load(config.file)
    with real_time():
        if config.echo is not None:
            _echo(config.echo, policy, config.rate)
        session = _session_floor(policy, config.rate, config.ticks)
        echo = _echo_floor(config, policy)
    floors = {"session": session, "echo": echo}
    config.out.write_text(json.dumps(floors))


def _session_floor(policy: OnnxPolicy, rate_hz: float, ticks: int) -> dict[str, list[int]]:
    """Durations of `infer` on the tick; every other tick is touched ahead of its due time."""
    clock = MonotonicClock()
    rate, touch = Rate(rate_hz, clock), PreTouch(policy.hot_call_ns, clock)
    m = policy.manifest
    observation = np.array(m.golden[0].observation, np.float32)
    noise = NoiseSource(m.noise, 0)
    took: dict[str, list[int]] = {"touched": [], "bare": []}
    tick = rate.wait()
    for i in range(ticks + _SETTLING_TICKS):
        touched = i % 2 == 0
        begin_ns = touch.begin_ns(tick.due_ns + rate.period_ns, rate.period_ns)
        if touched and begin_ns is not None:
            clock.sleep_until_ns(begin_ns)
            touch.run(policy.touch)
        tick = rate.wait()
        draw = noise.draw(0, i)
        start_ns = clock.now_ns()
        policy.infer(observation, draw)
        end_ns = clock.now_ns()
        if i >= _SETTLING_TICKS:
            took["touched" if touched else "bare"].append(end_ns - start_ns)
    return took


def _echo_floor(config: Config, policy: OnnxPolicy) -> dict[str, list[int]]:
    """Round trips of the real messages' bytes through a process that does nothing with them."""
    clock, m = MonotonicClock(), policy.manifest
    took: dict[str, list[int]] = {"touched": [], "bare": []}
    with (
        tempfile.TemporaryDirectory(prefix="odeploy-") as folder,
        zmq.Context[zmq.Socket[bytes]]() as context,
    ):
        path, log = Path(folder) / "echo.ipc", Path(folder) / "echo.log"
        endpoint = f"ipc://{path}"
        options = "--rate", str(config.rate), "--echo", endpoint
        command = python_module("odeploy_sim.bench.floors", str(config.file), *options)
        with child(command, log) as process:
            wait_bound(path, process, log)
            dealer = connect_dealer(context, endpoint)
            dealer.setsockopt(zmq.SNDTIMEO, 1000)
            rate = Rate(config.rate, clock)
            for i in range(config.ticks + _SETTLING_TICKS):
                rate.wait()
                values = bytes(4 * len(m.observation))
                request = wire.pack(wire.Observation(1 << 47, 1, i, clock.now_ns(), values))
                start_ns = clock.now_ns()
                dealer.send(request)
                if receive(dealer, start_ns + _REPLY_WAIT_NS, clock) is None:
                    raise UnreachableError(
                        where="echo floor",
                        expected="a reply within 1 s",
                        got="none",
                        remedy="run the bench again",
                    )
                end_ns = clock.now_ns()
                if i >= _SETTLING_TICKS:
                    took["touched" if i % 2 == 0 else "bare"].append(end_ns - start_ns)
            dealer.close()
    return took


def _echo(endpoint: str, policy: OnnxPolicy, rate_hz: float) -> None:
    """Replies bytes of an action's size; touches ahead of every other message. Runs until it is killed."""
    clock, m = MonotonicClock(), policy.manifest
    touch, arrivals, period_ns = PreTouch(policy.hot_call_ns, clock), Arrivals(), round(1e9 / rate_hz)
    now_ns = clock.now_ns()
    values = bytes(4 * m.horizon * len(m.action))
    reply = wire.pack(wire.Action(1 << 47, 1, 1, 1, 0, now_ns, now_ns, now_ns, now_ns, values))
    with zmq.Context[zmq.Socket[bytes]]() as context:
        router, begin_ns = bind_router(context, endpoint), None
        while True:
            message = None if begin_ns is None else receive(router, begin_ns, clock)
            if message is None and begin_ns is not None:
                touch.run(policy.touch)
            while message is None:
                message = receive(router, clock.now_ns() + _REPLY_WAIT_NS, clock)
            identity, frame = message
            received_ns = clock.now_ns()
            send_at_once(router, identity, reply)
            request = wire.unpack(frame)
            assert isinstance(request, wire.Observation)
            expected_ns = arrivals.next_ns(request.sent_ns, received_ns, period_ns)
            # The client counts alike: its even ticks are the touched ones.
            begin_ns = touch.begin_ns(expected_ns, period_ns) if request.seq % 2 else None


if __name__ == "__main__":
    main()
