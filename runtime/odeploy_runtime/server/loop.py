"""The inference server: answers each observation with the policy's action, stamped at every step.

One thread, one socket. Between messages it wakes shortly before the next observation is expected and
rehearses the last one twice, from decoding to the encoded reply (pre-touch): caches and clocks are then warm
when it arrives (latency.md). A session that is silent for 1 s (5 s at its beginning) is freed; its robot may
come back.

Connections have their turn one after the other, and each has only so many messages a second: one that floods
the server costs the others one answer's time. Nothing that is said on the wire ends the server.
"""

from collections.abc import Callable

import zmq

from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.token_bucket import TokenBucket
from odeploy_runtime.server.observation_range import WIDTHS
from odeploy_runtime.server.service import Service
from odeploy_runtime.server.sessions import FREED_AFTER_NS
from odeploy_runtime.transport.sockets import Aside, receive, send_at_once

MOST_HZ = 10_000.0
_BURST = 64
_IDLE_NS = 250_000_000


class Server:
    """Serves a policy on one socket until it is interrupted.

    Attributes:
        service: what it says.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        policy: Policy,
        clock: Clock,
        pre_touch: PreTouch | None,
        counters: Counters | None = None,
        door: Aside | None = None,
        most_hz: float = MOST_HZ,
        far_widths: float = WIDTHS,
        refuse_far: bool = False,
    ) -> None:
        """Takes up its work.

        Args:
            socket: on which robots come.
            policy: to begin with, loaded and proven.
            clock: of all stamps.
            pre_touch: when to rehearse; None for never.
            counters: named as `SERVER` says; its own if not given.
            door: decides who may connect, where that is asked.
            most_hz: messages of one connection that are looked at in a second.
            far_widths: see `odeploy_runtime.server.observation_range`.
            refuse_far: answer an observation that is far outside with an error, where else it is flagged.
        """
        self._socket, self._clock, self._door, self._most_hz = socket, clock, door, most_hz
        self._counters = Counters(SERVER) if counters is None else counters
        self.service = Service(policy, clock, pre_touch, self._counters, self._send, far_widths, refuse_far)
        self._buckets: dict[bytes, TokenBucket] = {}
        self._look_ns = clock.now_ns() + _IDLE_NS

    def run(self) -> None:
        """Serves until an exception (Ctrl-C among them) ends it; then says goodbye to every robot."""
        try:
            while True:
                self.turn()
        finally:
            self._counters.set("ready", 0)
            self.service.goodbye()

    def turn(self) -> None:
        """Waits for one message or one moment, and handles it; before that a new policy may take its place."""
        self.service.look()
        wake_ns, act = self._next_moment()
        message = receive(self._socket, wake_ns, self._clock, self._door)
        if message is None:
            act()
            return
        received_ns = self._clock.now_ns()
        identity, *frames = message
        if not self._may_speak(identity, received_ns):
            self._counters.add("dropped:rate_cap")
        elif len(frames) == 1:
            self.service.hear(identity, frames[0], received_ns)
        else:
            self.service.refuse(identity, "more than one frame")
        self._catch_up()

    def _may_speak(self, identity: bytes, now_ns: int) -> bool:
        self._counters.add("messages")
        bucket = self._buckets.get(identity)
        if bucket is None:
            bucket = self._buckets[identity] = TokenBucket(self._most_hz, _BURST)
        return bucket.take(now_ns)

    def _catch_up(self) -> None:
        """Where messages never cease, streams still have their ticks, and who knocks is answered."""
        now_ns = self._clock.now_ns()
        for session in self.service.robots:
            if session.due_ns is not None and session.due_ns <= now_ns:
                self.service.stream(session)
        if self._look_ns <= now_ns:
            self._free_silent()
        if self._door is not None:
            self._door.attend()

    def _next_moment(self) -> tuple[int, Callable[[], None]]:
        """The earliest of: a touch, a stream's tick, a look at silent sessions."""
        moments: list[tuple[int, Callable[[], None]]] = [(self._look_ns, self._free_silent)]
        for session in self.service.robots:
            if session.touch_ns is not None:
                moments.append((session.touch_ns, lambda s=session: self.service.touch(s)))  # type: ignore[misc]
            if session.due_ns is not None:
                moments.append((session.due_ns, lambda s=session: self.service.stream(s)))  # type: ignore[misc]
        return min(moments, key=lambda m: m[0])

    def _free_silent(self) -> None:
        now_ns = self._clock.now_ns()
        away = now_ns - self._look_ns > FREED_AFTER_NS  # stopped itself: then silence is nobody's fault
        self._look_ns = now_ns + _IDLE_NS
        self._buckets = {i: b for i, b in self._buckets.items() if not b.is_full(now_ns)}
        if not away:
            self.service.robots.end_silent(now_ns)
        self.service.condition.show(now_ns)

    def _send(self, identity: bytes, frame: bytes) -> None:
        send_at_once(self._socket, identity, frame)  # what its robot cannot take is dropped
