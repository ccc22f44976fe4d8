"""The inference server: answers each observation with the policy's action, stamped at every step.

One thread, one socket. Between messages it wakes shortly before the next observation is expected and
rehearses the last one twice, from decoding to the encoded reply (pre-touch): caches and clocks are then warm
when it arrives (docs/latency.md). A session that is silent for 1 s is freed; its robot may come back.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from runtime import wire
from runtime.clock import Clock
from runtime.errors import ContractError, WireError
from runtime.noise import NoiseSource
from runtime.onnx_policy import Policy
from runtime.pretouch import Arrivals, PreTouch
from runtime.signals import require_same_names
from runtime.sockets import wait_readable

FREED_AFTER_NS = 1_000_000_000
_IDLE_NS = 250_000_000
_MIN_RATE_HZ, _MAX_RATE_HZ = 1, 10_000  # below, a session would be freed between two ticks


@dataclass
class Session:
    """One robot's session.

    Attributes:
        identity: of its connection.
        number: of the session.
        hello: as the robot introduced itself.
        noise: its noise by tick.
        heard_ns: when its last message came.
        frame: its last observation as it came, to rehearse with.
        arrivals: predicts its next observation.
        touch_ns: when to pre-touch for its next observation; None for not again before it.
        due_ns: in stream mode, when the next action is due; None before the first observation.
        latest: in stream mode, the newest observation and when it came.
    """

    identity: bytes
    number: int
    hello: wire.Hello
    noise: NoiseSource
    heard_ns: int
    frame: bytes = b""
    arrivals: Arrivals = field(default_factory=Arrivals)
    touch_ns: int | None = None
    due_ns: int | None = None
    latest: tuple[wire.Observation, int] | None = None

    @property
    def period_ns(self) -> int:
        """T as the robot asked for."""
        return round(1e9 / self.hello.rate_hz)


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
    ) -> None:
        self._socket, self._policy, self._clock, self._pre_touch, self._say = (
            socket,
            policy,
            clock,
            pre_touch,
            say,
        )
        self._sessions: dict[bytes, Session] = {}
        self._look_ns = clock.now_ns() + _IDLE_NS
        self.policy_epoch = 1

    def run(self) -> None:
        """Serves until an exception (Ctrl-C among them) ends it; then says goodbye to every robot."""
        try:
            while True:
                self.turn()
        finally:
            for session in self._sessions.values():
                self._send(session.identity, wire.Bye(session.number))

    def turn(self) -> None:
        """Waits for one message or one moment, and handles it."""
        wake_ns, act = self._next_moment()
        if wait_readable(self._socket, wake_ns, self._clock):
            identity, *frames = self._socket.recv_multipart()
            received_ns = self._clock.now_ns()
            if len(frames) == 1:
                self._handle(identity, frames[0], received_ns)
            else:
                self._send(identity, wire.Error(0, wire.MALFORMED, "more than one frame"))
        else:
            act()

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
        elif isinstance(message, wire.Hello):
            self._welcome(identity, message, received_ns)
        elif isinstance(message, wire.Bye):
            if session is not None:
                self._free(session, "said goodbye")
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
        session.due_ns += (behind + 1) * session.period_ns
        self._touch_before(session, session.due_ns)

    def _welcome(self, identity: bytes, hello: wire.Hello, now_ns: int) -> None:
        reason = self._objection(identity, hello, now_ns)
        if reason is not None:
            self._send(identity, wire.Refused(reason))
            self._say(f"refused {hello.robot!r}: {reason}")
            return
        manifest = self._policy.manifest
        noise = NoiseSource(manifest.noise, hello.seed)
        session = Session(identity, secrets.randbits(48), hello, noise, now_ns)
        self._sessions[identity] = session
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

    def _objection(self, identity: bytes, hello: wire.Hello, now_ns: int) -> str | None:
        """Why this robot gets no session; None if it does."""
        manifest = self._policy.manifest
        if hello.protocol != wire.PROTOCOL:
            return f"expected protocol {wire.PROTOCOL}, got {hello.protocol}; use the same release on both sides"
        if not _MIN_RATE_HZ <= hello.rate_hz <= _MAX_RATE_HZ:
            bounds = f"{_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz"
            return f"expected a rate of {bounds}, got {hello.rate_hz:g}; ask for another rate"
        if hello.mode not in ("request", "stream"):
            return f"expected mode request or stream, got {hello.mode!r}; ask for one of these"
        for other in list(self._sessions.values()):
            if other.identity != identity and other.hello.robot == hello.robot:
                if now_ns - other.heard_ns < FREED_AFTER_NS:
                    return f"the robot name {hello.robot!r} is in use; choose another or end that session"
                self._free(other, "silent, replaced")
        try:
            require_same_names(manifest.observation_names, hello.observation, "observation")
            require_same_names(manifest.action_names, hello.action, "action")
        except ContractError as error:
            return str(error)
        return None

    def _free_silent(self) -> None:
        now_ns = self._clock.now_ns()
        self._look_ns = now_ns + _IDLE_NS
        for session in list(self._sessions.values()):
            if now_ns - session.heard_ns > FREED_AFTER_NS:
                self._free(session, "silent")

    def _free(self, session: Session, why: str) -> None:
        del self._sessions[session.identity]
        self._say(f"{session.hello.robot!r} freed: {why}")

    def _send(self, identity: bytes, message: wire.Message) -> None:
        # A ROUTER drops what its peer cannot take; it never blocks.
        self._socket.send_multipart((identity, wire.pack(message)))
