"""The server's loop: answers observations with actions, stamped at every step.

One thread, one inbox for all connections. Between messages the loop wakes shortly before the next expected
observation and answers the last one twice more, from decoding to the encoded reply (pre-touch): caches and clocks
are then warm when it arrives (docs/reference/latency.md). The session of a silent robot is freed; the robot may
come back.

Connections take turns, and each has a limited message rate: a flood costs the other connections one answer's
time. Between two messages there is at most one tick of a stream. No message ends the server.
"""

import math
from collections.abc import Callable
from functools import partial

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.realtime.token_bucket import TokenBucket
from odeploy_runtime.server.service import Service
from odeploy_runtime.server.session import FREED_AFTER_NS, Session
from odeploy_runtime.transport.inbox import Inbox

_BURST = 64
_IDLE_NS = 250_000_000


class Server:
    """Runs a service until it is interrupted.

    Attributes:
        turns: iterations of the loop, four a second at least.
    """

    def __init__(self, inbox: Inbox, service: Service, clock: Clock, counters: Counters) -> None:
        """Serve the connections of an inbox.

        Args:
            inbox: receives the robots' frames; `service` sends through it.
            service: answers them.
            clock: the service's.
            counters: the service's.
        """
        self._inbox, self._service, self._clock, self._counters = inbox, service, clock, counters
        self.turns = 0
        self._buckets: dict[bytes, TokenBucket] = {}
        self._look_ns = clock.now_ns() + _IDLE_NS

    def run(self) -> None:
        """Serve until an exception (such as Ctrl-C) ends it; then send Bye to every robot."""
        try:
            while True:
                self.turn()
        finally:
            self._counters.set("ready", 0)
            self._service.goodbye()

    def turn(self) -> None:
        """Wait for one message or one due moment, and handle it.

        Before that a new policy may take over.
        """
        self.turns += 1
        self._service.take_policy()
        wake_ns, act = self._next_moment()
        message = self._inbox.receive(wake_ns)
        if message is None:
            act()
            return
        received_ns = self._clock.now_ns()
        identity, frames = message
        if not frames:
            self._buckets.pop(identity, None)
            self._service.disconnected(identity)
        elif not self._within_rate(identity, received_ns):
            self._counters.add("dropped:rate_cap")
        elif len(frames) == 1:
            self._service.receive(identity, frames[0], received_ns)
        else:
            self._service.reject(identity, "more than one frame")
        self._catch_up()

    def _within_rate(self, identity: bytes, now_ns: int) -> bool:
        self._counters.add("messages")
        bucket = self._buckets.get(identity)
        if bucket is None:
            bucket = self._buckets[identity] = TokenBucket(self._service.options.max_rate_hz, _BURST)
        return bucket.take(now_ns)

    def _catch_up(self) -> None:
        """Under constant load, still run a stream tick and session timeouts.

        One tick, of the longest overdue stream: streams take turns with messages, and with one another.
        """
        now_ns = self._clock.now_ns()
        if self._service.load.streams_hz:
            overdue = min(self._service.sessions, key=_due_ns, default=None)
            if overdue is not None and _due_ns(overdue) <= now_ns:
                self._service.stream_tick(overdue)
        if self._look_ns <= now_ns:
            self._free_silent()

    def _next_moment(self) -> tuple[int, Callable[[], None]]:
        """Return the earliest due moment and its action.

        That is a pre-touch run, a stream's tick, or the check of session timeouts.
        """
        moment_ns, session, act = self._look_ns, None, self._service.stream_tick
        for each in self._service.sessions:
            touch_ns, due_ns = each.touch_ns, each.due_ns
            if touch_ns is not None and touch_ns < moment_ns:
                moment_ns, session, act = touch_ns, each, self._service.pre_touch
            if due_ns is not None and due_ns < moment_ns:
                moment_ns, session, act = due_ns, each, self._service.stream_tick
        return moment_ns, self._free_silent if session is None else partial(act, session)

    def _free_silent(self) -> None:
        now_ns = self._clock.now_ns()
        stopped = now_ns - self._look_ns > FREED_AFTER_NS  # this process itself: robots were not silent then
        self._look_ns = now_ns + _IDLE_NS
        self._buckets = {i: b for i, b in self._buckets.items() if not b.is_full(now_ns)}
        if not stopped:
            self._service.sessions.end_silent(now_ns)
            self._inbox.close_idle(self._service.sessions)
        self._service.load.look(now_ns)
        self._service.status.publish(now_ns)


def _due_ns(session: Session) -> float:
    """Return when a stream's next action is due; never without one."""
    return math.inf if session.due_ns is None else session.due_ns
