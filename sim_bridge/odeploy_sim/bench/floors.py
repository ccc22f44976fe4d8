"""Lower bounds of a round trip: bare socket and bare inference at the loop's pace.

A server's latency means little without what the machine takes to echo the same bytes over the same socket, and for
the bare session call, at the same rate in the same run. Both are measured with and without the server's pre-touch,
alternating from tick to tick, so that drift of the machine affects both alike.
"""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.trial_load import load_tried
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.clock import Clock, MonotonicClock, Rate
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.robot.connect import Transport, connect
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.address import lane_file, socket_file
from odeploy_runtime.transport.link import Link

_REPLY_WAIT_NS = 1_000_000_000
_RETRY_NS = 1_000_000
_SETTLING_TICKS = 20

Floors = dict[str, dict[str, list[int]]]
"""`session` and `echo` → `touched` and `bare` → durations [ns]."""


def measured_floors(
    file: Path, rate_hz: float, ticks: int, provider: str = "auto", transport: Transport = "auto"
) -> Floors:
    """Measure both lower bounds of a policy file in this process.

    Args:
        file: policy file, for its inference and its vector sizes.
        rate_hz: ticks per second.
        ticks: number of ticks of each bound; half of them with pre-touch.
        provider: execution provider of the inference.
        transport: how the echo's frames travel.
    """
    policy = load_tried(read(file), provider)
    with real_time():
        return {
            "session": _session_floor(policy, rate_hz, ticks),
            "echo": _echo_floor(file, policy, rate_hz, ticks, transport),
        }


def _session_floor(policy: Policy, rate_hz: float, ticks: int) -> dict[str, list[int]]:
    """Return durations of `infer` on the tick.

    Every other tick is touched ahead of its due time.
    """
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


def _echo_floor(
    file: Path, policy: Policy, rate_hz: float, ticks: int, transport: Transport
) -> dict[str, list[int]]:
    """Return round trips of the real messages' bytes through an idle process."""
    clock, m = MonotonicClock(), policy.manifest
    took: dict[str, list[int]] = {"touched": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="odeploy-") as made:
        folder = Path(made)
        endpoint, log = f"ipc://{folder}/echo.ipc", folder / "echo.log"
        used: Transport = "zmq" if transport == "zmq" else "lane"
        path = lane_file(endpoint) if used == "lane" else socket_file(endpoint)
        assert path is not None
        arguments = str(file), str(rate_hz), endpoint, used
        command = python_module("odeploy_sim.bench.echo_server", *arguments, folder=folder)
        with child(command, log) as process:
            wait_bound(path, process, log)
            with contextlib.closing(connect(endpoint, clock, transport=used, timeout_s=1.0)) as link:
                rate = Rate(rate_hz, clock)
                for i in range(ticks + _SETTLING_TICKS):
                    rate.wait()
                    values = bytes(4 * len(m.observation))
                    request = messages.pack(messages.Observation(1 << 47, 1, i, clock.now_ns(), values))
                    took_ns = _exchange(link, request, clock)
                    if i >= _SETTLING_TICKS:
                        took["touched" if i % 2 == 0 else "bare"].append(took_ns)
    return took


def _exchange(link: Link, request: bytes, clock: Clock) -> int:
    """Return the round trip [ns]. The first request waits until ZeroMQ is connected."""
    start_ns = clock.now_ns()
    deadline_ns = start_ns + _REPLY_WAIT_NS
    while not link.put(request) and clock.now_ns() < deadline_ns:
        clock.sleep_until_ns(clock.now_ns() + _RETRY_NS)
    if not link.wait(deadline_ns):
        raise UnreachableError(
            where="echo floor",
            expected="a reply within 1 s",
            got="none",
            remedy="run the bench again",
        )
    link.take()
    return clock.now_ns() - start_ns
