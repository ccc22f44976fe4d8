"""Test doubles: a simple policy, a bare peer, and a `select` that advances the clock."""

import select
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.policy_file.manifest import GoldenRow, Manifest, Noise, Parity, Sampler
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.loop import Server
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.service import Service
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.inbox import Inbox

Floats = NDArray[np.float32]
WITHOUT_PRE_TOUCH = ServerOptions(pre_touch=False)


class FakeSelect:
    """Double of the module `select`: instead of a wait, peers get their turn and the clock advances.

    In-process messages are readable as soon as they are sent, so a message without an answer by now gets none.
    """

    epoll, EPOLLIN = select.epoll, select.EPOLLIN

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.peers: list[Callable[[], bool]] = []

    def select(self, read: list[int], write: list[int], _x: list[int], timeout: float) -> tuple[list[int], ...]:
        if not any(peer() for peer in self.peers):
            self.clock.ns += max(1, round(timeout * 1e9))
        return [], [], []


def manifest(**changes: Any) -> Manifest:
    """Return a flow's manifest with three observations and two actions."""
    fields: dict[str, Any] = {
        "version": 1,
        "name": "teacher",
        "method": "fm-bc",
        "kind": "flow",
        "task": "maze-medium",
        "rate_hz": 100.0,
        "horizon": 1,
        "observation": (Signal("x", "m", -4.0, 4.0), Signal("y", "m"), Signal("speed", "m/s")),
        "action": (Signal("motor_x", "N", -1.0, 1.0, 0.25), Signal("motor_y", "N", -1.0, 1.0)),
        "action_semantics": "force",
        "noise": Noise("normal", (1, 1, 2)),
        "sampler": Sampler("euler", 2, (0.0, 0.5, 1.0)),
        "parity": (Parity("CPUExecutionProvider", 1.25e-7, 1e-5, 100, (1, 3, 8)),),
        "golden": (GoldenRow((0.1, 0.2, 0.3), (0.5, -0.5), (0.25, -1.0)),),
        "provenance": {"git": "abc", "config": {"seed": 3, "widths": [256, 256]}, "lr": 3e-4},
    }
    return Manifest(**(fields | changes))


class FakePolicy:
    """Policy that returns the first two observations plus the noise; `answer` or a subclass changes that."""

    def __init__(self, described: Manifest | None = None, fingerprint: str = "f" * 64) -> None:
        self.manifest = manifest() if described is None else described
        self.fingerprint = fingerprint
        self.provider, self.golden_error, self.hot_call_ns = "fake", 0.0, 10_000
        self.inferred = 0
        self.touched = 0
        self.answer: Floats | None = None
        self.state = np.zeros(self.manifest.state_size, np.float32)
        self.previous = np.zeros((self.manifest.horizon, len(self.manifest.action)), np.float32)
        self.frozen = np.zeros(self.manifest.horizon, np.float32)
        self.raw_action = np.zeros(0, np.float32)

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        self.inferred += 1
        if self.answer is not None:
            return self.answer
        return (observation[:2] + noise.reshape(-1)[:2]).reshape(1, 2)

    def touch(self) -> None:
        self.touched += 1

    def reset(self) -> None:
        self.state[:] = 0


def served(
    socket: "zmq.Socket[bytes]",
    slot: PolicySlot,
    clock: FakeClock,
    options: ServerOptions = WITHOUT_PRE_TOUCH,
    counters: Counters | None = None,
) -> Server:
    """Serve a slot's policy on a socket."""
    counted = Counters(SERVER) if counters is None else counters
    inbox = Inbox(socket, clock)
    service = Service(slot, options, clock, counted, inbox.send)
    return Server(inbox, service, clock, counted)


def hello(**changes: Any) -> messages.Hello:
    """Return the handshake of a robot that matches `manifest()`."""
    fields = messages.Hello(
        protocol=messages.PROTOCOL,
        robot="robot",
        task="maze-medium",
        rate_hz=100.0,
        seed=7,
        observation=["x", "y", "speed"],
        action=["motor_x", "motor_y"],
    )
    return fields._replace(**changes)


def floats(*values: float) -> bytes:
    """Return numbers in the protocol's encoding."""
    return messages.to_bytes(np.array(values, np.float32))


class Peer:
    """Bare end of a connection, which can also send invalid messages."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def send(self, message: messages.Message | bytes) -> None:
        self.socket.send(message if isinstance(message, bytes) else messages.pack(message))

    def receive(self) -> messages.Message | None:
        """Return the next message that has arrived, or None."""
        try:
            return messages.unpack(self.socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return None
