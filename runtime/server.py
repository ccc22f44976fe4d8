"""The inference server: answers each observation with the policy's action, stamped at every step.

One thread, one socket. Between messages it wakes shortly before the next observation is expected and
rehearses the last one twice, from decoding to the encoded reply (pre-touch): caches and clocks are then warm
when it arrives (docs/latency.md). A session that is silent for 1 s (5 s at its beginning) is freed; its robot may
come back.

Connections have their turn one after the other, and each has only so many messages a second: one that floods
the server costs the others one answer's time. Nothing that is said on the wire ends the server.
"""

from collections.abc import Callable

import numpy as np
import zmq
from numpy.typing import NDArray

from runtime import wire
from runtime.clock import Clock
from runtime.condition import Condition
from runtime.counters import SERVER, Counters
from runtime.errors import WireError
from runtime.exchange import Exchange
from runtime.familiar import WIDTHS, Familiar
from runtime.onnx_policy import Policy
from runtime.pretouch import PreTouch
from runtime.register import FREED_AFTER_NS, Register
from runtime.session import Objection, Session
from runtime.shadow import Shadow
from runtime.sockets import Aside, wait_readable
from runtime.token_bucket import TokenBucket

MOST_HZ = 10_000.0
_BURST = 64
_IDLE_NS = 250_000_000
_MAX_REASON = 1000


class Server:
    """Serves a policy on one socket until it is interrupted.

    Attributes:
        exchange: where the loop is handed another policy.
        shadow: what sees every observation and action too; set by whoever starts it, in any thread.
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
        far_widths: float = WIDTHS,
        refuse_far: bool = False,
    ) -> None:
        """Takes up its work.

        Args:
            socket: on which robots come.
            policy: to begin with, loaded and proven.
            clock: of all stamps.
            pre_touch: when to rehearse; None for never.
            say: the log.
            counters: named as `SERVER` says; its own if not given.
            door: decides who may connect, where that is asked.
            most_hz: messages of one connection that are looked at in a second.
            far_widths: see `runtime.familiar`.
            refuse_far: answer an observation that is far outside with an error, where else it is flagged.
        """
        self._socket, self._policy, self._clock, self._pre_touch = socket, policy, clock, pre_touch
        self._counters = Counters(SERVER) if counters is None else counters
        self._door, self._most_hz, self._say = door, most_hz, say
        self._familiar = Familiar(policy.manifest, far_widths)
        self._far_widths, self._refuse_far = far_widths, refuse_far
        self._robots = Register(self._counters, say)
        self._buckets: dict[bytes, TokenBucket] = {}
        self.exchange, self._epoch = Exchange(policy), 1
        self.shadow: Shadow | None = None
        began_ns = clock.now_ns()
        self._look_ns = began_ns + _IDLE_NS
        self._condition = Condition(self._counters, self._robots, self.exchange, began_ns)

    def run(self) -> None:
        """Serves until an exception (Ctrl-C among them) ends it; then says goodbye to every robot."""
        try:
            while True:
                self.turn()
        finally:
            self._counters.set("ready", 0)
            for session in self._robots:
                self._send(session.identity, wire.Bye(session.number))

    def turn(self) -> None:
        """Waits for one message or one moment, and handles it; before that a new policy may take its place."""
        if self.exchange.take():
            self._policy, self._epoch = self.exchange.serving, self.exchange.epoch
            self._robots.renew(self._policy.manifest)
            self._familiar = Familiar(self._policy.manifest, self._far_widths)
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
        for session in self._robots:
            if session.due_ns is not None and session.due_ns <= now_ns:
                self._stream(session)
        if self._look_ns <= now_ns:
            self._free_silent()
        if self._door is not None:
            self._door.attend()

    def _next_moment(self) -> tuple[int, Callable[[], None]]:
        """The earliest of: a touch, a stream's tick, a look at silent sessions."""
        moments: list[tuple[int, Callable[[], None]]] = [(self._look_ns, self._free_silent)]
        for session in self._robots:
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
        session = self._robots.get(identity)
        if isinstance(message, wire.Observation):
            if session is None or session.number != message.session:
                self._send(identity, wire.Error(message.seq, wire.UNKNOWN_SESSION, ""))
                return
            session.heard_ns = received_ns
            if session.hello.mode == "stream":
                session.latest = message, received_ns
                self._prepared(session, message)  # a history has also what no tick of the stream answers
                if session.due_ns is None:
                    # Half a period beside the robot's own grid, so that jitter never makes the two race.
                    session.due_ns = received_ns + session.period_ns // 2
            else:
                self._answer(session, message, received_ns)
                expected_ns = session.arrivals.next_ns(message.sent_ns, received_ns, session.period_ns)
                self._touch_before(session, expected_ns)
            session.frame = frame
        elif isinstance(message, wire.Ping):
            self._send(identity, self._condition.health(received_ns, self.shadow))
        elif isinstance(message, wire.Hello):
            self._welcome(identity, message, received_ns)
        elif isinstance(message, wire.Bye):
            if session is not None:
                self._robots.end(session, "goodbye", "said goodbye")
        else:
            self._send(identity, wire.Error(0, wire.MALFORMED, f"{type(message).__name__} is a server's message"))

    def _answer(self, session: Session, message: wire.Observation, received_ns: int) -> None:
        """Replies; with that, and not with a rehearsal, a recurrent policy's state moves on."""
        reply = self._reply(session, message, received_ns)
        self._send(session.identity, reply)
        match reply:
            case wire.Action(status=wire.FAR) | wire.Error(code=wire.FAR_OUTSIDE):
                who, signal = session.hello.robot, self._familiar.stranger
                self._say(f"{who!r}: {signal} is far outside of what the policy was trained on")
        if isinstance(reply, wire.Action):
            actions = np.frombuffer(reply.values, "<f4").reshape(-1, len(session.hello.action))
            session.memory.keep(self._policy, self._epoch, message.episode, message.seq, actions)
            shadow = self.shadow
            if shadow is not None:
                taken = shadow.feed(session.hello.seed, message, reply)
                self._counters.add("shadow:fed" if taken else "shadow:dropped")

    def _prepared(self, session: Session, message: wire.Observation) -> NDArray[np.float32] | wire.Error:
        """What the policy sees: what the robot sensed, if that is sound, by the recipe of the file."""
        names = session.hello.observation
        values = wire.from_bytes(message.values, len(names))
        if values is None:
            return wire.Error(message.seq, wire.WRONG_LENGTH, f"{4 * len(names)} bytes")
        culprit = wire.first_not_finite(values, names)
        if culprit is not None:
            return wire.Error(message.seq, wire.NOT_FINITE, culprit)
        return session.memory.observe(message.episode, message.seq, values)

    def _reply(self, session: Session, message: wire.Observation, received_ns: int) -> wire.Action | wire.Error:
        values = self._prepared(session, message)
        if isinstance(values, wire.Error):
            return values
        familiar = self._familiar(values)
        if not familiar and self._refuse_far:
            return wire.Error(message.seq, wire.FAR_OUTSIDE, self._familiar.stranger)
        noise = session.memory.set_inputs(self._policy, self._epoch, message.episode, message.seq)
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
            policy_epoch=self._epoch,
            status=wire.OK if familiar else wire.FAR,
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
        session.memory.noise.draw(message.episode, message.seq + 1)  # most likely what the next tick wants

    def _stream(self, session: Session) -> None:
        """One tick of a stream: the newest observation is answered; the grid is absolute, overruns are skipped."""
        assert session.due_ns is not None
        assert session.latest is not None
        self._answer(session, *session.latest)
        behind = max(0, self._clock.now_ns() - session.due_ns) // session.period_ns
        self._counters.add("stream_ticks_skipped", behind)
        session.due_ns += (behind + 1) * session.period_ns
        self._touch_before(session, session.due_ns)

    def _welcome(self, identity: bytes, hello: wire.Hello, now_ns: int) -> None:
        manifest = self._policy.manifest
        session = self._robots.admit(identity, hello, manifest, now_ns)
        if isinstance(session, Objection):
            self._send(identity, wire.Refused(session.reason[:_MAX_REASON]))
            return
        self._condition.show(now_ns)
        ready = wire.Ready(
            protocol=wire.PROTOCOL,
            session=session.number,
            policy=manifest.name,
            fingerprint=self._policy.fingerprint,
            rate_hz=manifest.rate_hz,
            horizon=manifest.horizon,
            command=[] if manifest.recipe is None else [*manifest.recipe.command],
            predecessors=self.exchange.recent[:-1],
        )
        self._send(identity, ready)

    def _free_silent(self) -> None:
        now_ns = self._clock.now_ns()
        away = now_ns - self._look_ns > FREED_AFTER_NS  # stopped itself: then silence is nobody's fault
        self._look_ns = now_ns + _IDLE_NS
        self._buckets = {i: b for i, b in self._buckets.items() if not b.is_full(now_ns)}
        if not away:
            self._robots.end_silent(now_ns)
        self._condition.show(now_ns)

    def _send(self, identity: bytes, message: wire.Message) -> None:
        self._condition.count(message)
        # A ROUTER drops what its peer cannot take; it never blocks.
        self._socket.send_multipart((identity, wire.pack(message)))
