"""The inference server: answers each observation with the policy's action, stamped at every step.

One thread, one socket. Between messages it wakes shortly before the next observation is expected and
rehearses the last one twice, from decoding to the encoded reply (pre-touch): caches and clocks are then warm
when it arrives (docs/latency.md). A session that is silent for 1 s is freed; its robot may come back.

Connections have their turn one after the other, and each has only so many messages a second: one that floods
the server costs the others one answer's time. Nothing that is said on the wire ends the server.
"""

import secrets
from collections.abc import Callable

import zmq

from runtime import wire
from runtime.clock import Clock
from runtime.counters import Counters, server_counters
from runtime.errors import WireError
from runtime.noise import NoiseSource
from runtime.onnx_policy import Policy
from runtime.pretouch import PreTouch
from runtime.session import Objection, Session, objection
from runtime.sockets import Aside, wait_readable
from runtime.token_bucket import TokenBucket

FREED_AFTER_NS = 1_000_000_000
MOST_HZ = 10_000.0
_BURST = 64
_IDLE_NS = 250_000_000
_MAX_SESSIONS = 2048
_MAX_REASON = 1000
_ERRORS = {
    wire.UNKNOWN_SESSION: "errors:unknown_session",
    wire.WRONG_LENGTH: "errors:wrong_length",
    wire.NOT_FINITE: "errors:not_finite",
    wire.MALFORMED: "errors:malformed",
    wire.INFERENCE_FAILED: "errors:inference_failed",
}


class Server:
    """Serves one policy on one socket until it is interrupted.

    Attributes:
        policy_epoch: counts the policies served since the start.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        policy: Policy,
        clock: Clock,
        pre_touch: PreTouch | None,
        say: Callable[[str], None],
        counters: Counters | None = None,
        door: Aside | None = None,
        most_hz: float = MOST_HZ,
    ) -> None:
        """Takes up its work.

        Args:
            socket: on which robots come.
            policy: loaded and proven.
            clock: of all stamps.
            pre_touch: when to rehearse; None for never.
            say: the log.
            counters: of `server_counters`; its own if not given.
            door: decides who may connect, where that is asked.
            most_hz: messages of one connection that are looked at in a second.
        """
        self._socket, self._policy, self._clock, self._pre_touch, self._say = (
            socket,
            policy,
            clock,
            pre_touch,
            say,
        )
        self._counters = server_counters() if counters is None else counters
        self._door, self._most_hz = door, most_hz
        self._sessions: dict[bytes, Session] = {}
        self._buckets: dict[bytes, TokenBucket] = {}
        self._began_ns = clock.now_ns()
        self._look_ns = self._began_ns + _IDLE_NS
        self.policy_epoch = 1
        self._counters.set("policy_epoch", self.policy_epoch)
        self._show_state(self._began_ns)

    def run(self) -> None:
        """Serves until an exception (Ctrl-C among them) ends it; then says goodbye to every robot."""
        try:
            while True:
                self.turn()
        finally:
            self._counters.set("ready", 0)
            for session in self._sessions.values():
                self._send(session.identity, wire.Bye(session.number))

    def turn(self) -> None:
        """Waits for one message or one moment, and handles it."""
        wake_ns, act = self._next_moment()
        if not wait_readable(self._socket, wake_ns, self._clock, self._door):
            act()
            return
        identity, *frames = self._socket.recv_multipart()
        received_ns = self._clock.now_ns()
        if not self._may_speak(identity, received_ns):
            self._counters.add("dropped:rate_cap")
        elif len(frames) == 1:
            self._handle(identity, frames[0], received_ns)
        else:
            self._send(identity, wire.Error(0, wire.MALFORMED, "more than one frame"))
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
        for session in self._sessions.values():
            if session.due_ns is not None and session.due_ns <= now_ns:
                self._stream(session)
        if self._look_ns <= now_ns:
            self._free_silent()
        if self._door is not None:
            self._door.attend()

    def _next_moment(self) -> tuple[int, Callable[[], None]]:
        """The earliest of: a touch, a stream's tick, a look at silent sessions."""
        moments: list[tuple[int, Callable[[], None]]] = [(self._look_ns, self._free_silent)]
        for session in self._sessions.values():
            if session.touch_ns is not None:
                moments.append((session.touch_ns, lambda s=session: self._touch(s)))  # type: ignore[misc]
            if session.due_ns is not None:
                moments.append((session.due_ns, lambda s=session: self._stream(s)))  # type: ignore[misc]
        return min(moments, key=lambda m: m[0])

    def _handle(self, identity: bytes, frame: bytes, received_ns: int) -> None:
        try:
            message = wire.unpack(frame)
        except WireError as error:
            self._send(identity, wire.Error(0, wire.MALFORMED, f"expected {error.expected}, got {error.got}"))
            return
        session = self._sessions.get(identity)
        if isinstance(message, wire.Observation):
            if session is None or session.number != message.session:
                self._send(identity, wire.Error(message.seq, wire.UNKNOWN_SESSION, ""))
                return
            session.heard_ns = received_ns
            if session.hello.mode == "stream":
                session.latest = message, received_ns
                if session.due_ns is None:
                    # Half a period beside the robot's own grid, so that jitter never makes the two race.
                    session.due_ns = received_ns + session.period_ns // 2
            else:
                self._send(identity, self._reply(session, message, received_ns))
                expected_ns = session.arrivals.next_ns(message.sent_ns, received_ns, session.period_ns)
                self._touch_before(session, expected_ns)
            session.frame = frame
        elif isinstance(message, wire.Ping):
            self._send(identity, self._health(received_ns))
        elif isinstance(message, wire.Hello):
            self._welcome(identity, message, received_ns)
        elif isinstance(message, wire.Bye):
            if session is not None:
                self._free(session, "goodbye", "said goodbye")
        else:
            self._send(identity, wire.Error(0, wire.MALFORMED, f"{type(message).__name__} is a server's message"))

    def _reply(self, session: Session, message: wire.Observation, received_ns: int) -> wire.Action | wire.Error:
        names = session.hello.observation
        values = wire.from_bytes(message.values, len(names))
        if values is None:
            return wire.Error(message.seq, wire.WRONG_LENGTH, f"{4 * len(names)} bytes")
        culprit = wire.first_not_finite(values, names)
        if culprit is not None:
            return wire.Error(message.seq, wire.NOT_FINITE, culprit)
        noise = session.noise.draw(message.episode, message.seq)
        started_ns = self._clock.now_ns()
        actions = self._policy.infer(values, noise)
        inferred_ns = self._clock.now_ns()
        culprit = wire.first_not_finite(actions.reshape(-1), session.hello.action)
        if culprit is not None:
            return wire.Error(message.seq, wire.INFERENCE_FAILED, culprit)
        return wire.Action(
            session=message.session,
            episode=message.episode,
            seq=message.seq,
            policy_epoch=self.policy_epoch,
            status=wire.OK,
            received_ns=received_ns,
            started_ns=started_ns,
            inferred_ns=inferred_ns,
            replied_ns=self._clock.now_ns(),
            values=wire.to_bytes(actions),
        )

    def _touch_before(self, session: Session, expected_ns: int) -> None:
        touch = self._pre_touch
        session.touch_ns = None if touch is None else touch.begin_ns(expected_ns, session.period_ns)

    def _touch(self, session: Session) -> None:
        session.touch_ns = None
        assert self._pre_touch is not None
        self._pre_touch.run(lambda: self._rehearse(session))
        self._counters.add("rehearsals")

    def _rehearse(self, session: Session) -> None:
        message = wire.unpack(session.frame)
        assert isinstance(message, wire.Observation)
        wire.pack(self._reply(session, message, self._clock.now_ns()))
        session.noise.draw(message.episode, message.seq + 1)  # most likely what the next tick wants

    def _stream(self, session: Session) -> None:
        """One tick of a stream: the newest observation is answered; the grid is absolute, overruns are skipped."""
        assert session.due_ns is not None
        assert session.latest is not None
        self._send(session.identity, self._reply(session, *session.latest))
        behind = max(0, self._clock.now_ns() - session.due_ns) // session.period_ns
        self._counters.add("stream_ticks_skipped", behind)
        session.due_ns += (behind + 1) * session.period_ns
        self._touch_before(session, session.due_ns)

    def _welcome(self, identity: bytes, hello: wire.Hello, now_ns: int) -> None:
        manifest = self._policy.manifest
        against = objection(hello, manifest) or self._taken(identity, hello, now_ns)
        if against is not None:
            self._counters.add(f"refusals:{against.kind}")
            self._send(identity, wire.Refused(against.reason[:_MAX_REASON]))
            self._say(f"refused {hello.robot!r}: {against.reason}")
            return
        noise = NoiseSource(manifest.noise, hello.seed)
        session = Session(identity, secrets.randbits(48), hello, noise, now_ns)
        self._sessions[identity] = session
        self._counters.add("sessions_opened")
        self._show_state(now_ns)
        ready = wire.Ready(
            protocol=wire.PROTOCOL,
            session=session.number,
            policy=manifest.name,
            fingerprint=self._policy.fingerprint,
            rate_hz=manifest.rate_hz,
            horizon=manifest.horizon,
        )
        self._send(identity, ready)
        self._say(f"{hello.robot!r} connected: {hello.task}, {hello.rate_hz:g} Hz, {hello.mode}")

    def _taken(self, identity: bytes, hello: wire.Hello, now_ns: int) -> Objection | None:
        """Whether another robot has the name, or others all the room."""
        for other in list(self._sessions.values()):
            if other.identity != identity and other.hello.robot == hello.robot:
                if now_ns - other.heard_ns < FREED_AFTER_NS:
                    reason = f"the robot name {hello.robot!r} is in use; choose another or end that session"
                    return Objection("name_in_use", reason)
                self._free(other, "replaced", "silent, replaced")
        if len(self._sessions) >= _MAX_SESSIONS and identity not in self._sessions:
            return Objection("full", f"expected at most {_MAX_SESSIONS} robots; use another server")
        return None

    def _free_silent(self) -> None:
        now_ns = self._clock.now_ns()
        away = now_ns - self._look_ns > FREED_AFTER_NS  # stopped itself: then silence is nobody's fault
        self._look_ns = now_ns + _IDLE_NS
        self._buckets = {i: b for i, b in self._buckets.items() if not b.is_full(now_ns)}
        for session in list(self._sessions.values()):
            if now_ns - session.heard_ns > FREED_AFTER_NS and not away:
                self._free(session, "silent", "silent")
        self._show_state(now_ns)

    def _free(self, session: Session, kind: str, why: str) -> None:
        del self._sessions[session.identity]
        self._counters.add(f"sessions_ended:{kind}")
        self._say(f"{session.hello.robot!r} freed: {why}")

    def _show_state(self, now_ns: int) -> None:
        """That the loop turns, and what a robot that came now would meet."""
        self._counters.set("turned_ns", now_ns)
        self._counters.set("sessions", len(self._sessions))
        self._counters.set("ready", int(len(self._sessions) < _MAX_SESSIONS))

    def _health(self, now_ns: int) -> wire.Health:
        self._show_state(now_ns)
        counters = self._counters
        return wire.Health(
            protocol=wire.PROTOCOL,
            ready=counters["ready"],
            policy=self._policy.manifest.name,
            fingerprint=self._policy.fingerprint,
            policy_epoch=self.policy_epoch,
            up_ns=now_ns - self._began_ns,
            sessions=len(self._sessions),
            actions=counters["actions"],
            errors=sum(counters[name] for name in _ERRORS.values()),
            dropped=counters["dropped:rate_cap"],
        )

    def _send(self, identity: bytes, message: wire.Message) -> None:
        if isinstance(message, wire.Action):
            self._counters.add("actions")
            self._counters.add("inference_ns", message.inferred_ns - message.started_ns)
        elif isinstance(message, wire.Error):
            self._counters.add(_ERRORS[message.code])
        # A ROUTER drops what its peer cannot take; it never blocks.
        self._socket.send_multipart((identity, wire.pack(message)))
