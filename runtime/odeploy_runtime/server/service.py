"""The server without its socket: routes frames to sessions, and sends replies.

`server/loop.py` waits for frames and for due moments; `server/in_process.py` calls it from the robot's own
process. No frame raises an error.
"""

import logging
from collections.abc import Callable

from odeploy_runtime.errors import WireError
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.server.load import Load
from odeploy_runtime.server.observation_range import ObservationRange
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.session import Served, Session
from odeploy_runtime.server.sessions import Refusal, Sessions
from odeploy_runtime.server.status import ServerStatus
from odeploy_runtime.transport import messages

log = logging.getLogger(__name__)

_MAX_REASON = 1000


class Service:
    """Answers robots with the policy of a slot.

    Attributes:
        options: options of the server.
        load: time that answers take.
        sessions: sessions of the connected robots.
        status: published counters and health.
    """

    def __init__(
        self,
        slot: PolicySlot,
        options: ServerOptions,
        clock: Clock,
        counters: Counters,
        send: Callable[[bytes, bytes], object],
    ) -> None:
        """Serve the slot's policy.

        Args:
            slot: holds the policy, its successors, and the shadow.
            options: see `ServerOptions`.
            clock: clock of all stamps.
            counters: named as in `SERVER`.
            send: takes the identity of a connection, and a frame for it.
        """
        self.options = options
        self.load = Load(options.max_load, slot.serving.hot_call_ns, clock.now_ns())
        self.sessions = Sessions(counters, self.load)
        self._answering: tuple[Session, messages.Observation] | None = None
        self._slot, self._clock, self._counters, self._send_frame = slot, clock, counters, send
        self._served = self._serve_slot()
        self._pre_touch = PreTouch(slot.serving.hot_call_ns, clock) if options.pre_touch else None
        self.status = ServerStatus(counters, self.sessions, self.load, slot, clock.now_ns())

    def take_policy(self) -> None:
        """Between two messages: serve another policy, if the slot has one."""
        if self._slot.take():
            self._served = self._serve_slot()
            self.load.renew(self._slot.serving.hot_call_ns)
            self.sessions.renew(self._slot.serving.manifest)

    def receive(self, identity: bytes, frame: bytes, received_ns: int) -> None:
        """Handle one frame of a connection."""
        try:
            message = messages.unpack(frame)
        except WireError as error:
            self.reject(identity, f"expected {error.expected}, got {error.got}")
            return
        session = self.sessions.get(identity)
        if isinstance(message, messages.Observation):
            if session is None or session.number != message.session:
                self._send(identity, messages.Error(message.seq, messages.UNKNOWN_SESSION, ""))
                return
            session.last_received_ns = received_ns
            if session.hello.mode == "stream":
                session.store(message, received_ns)
            else:
                self._answer(session, message, received_ns)
                self.load.add_request(self._clock.now_ns() - received_ns)
                expected_ns = session.arrivals.next_ns(message.sent_ns, received_ns, session.period_ns)
                self._touch_before(session, expected_ns)
            session.frame = frame
        elif isinstance(message, messages.Ping):
            self._send(identity, self.status.health(received_ns))
        elif isinstance(message, messages.Hello):
            self._admit(identity, message, received_ns)
        elif isinstance(message, messages.Bye):
            if session is not None and session.number == message.session:
                self.sessions.end(session, "goodbye", "closed by the robot")
        else:
            self.reject(identity, f"{type(message).__name__} is a server's message")

    def disconnected(self, identity: bytes) -> None:
        """Free the session of a connection that has ended."""
        session = self.sessions.get(identity)
        if session is not None:
            self.sessions.end(session, "disconnected", "its connection ended")

    def stream_tick(self, session: Session) -> None:
        """Answer a stream's newest observation, and set its next tick."""
        assert session.latest is not None
        began_ns = self._clock.now_ns()
        self._answer(session, *session.latest)
        ended_ns = self._clock.now_ns()
        skipped = session.advance(ended_ns)
        self._counters.add("stream_ticks_skipped", skipped)
        self.load.add_tick(ended_ns - began_ns, skipped)
        assert session.due_ns is not None
        self._touch_before(session, session.due_ns)

    def pre_touch(self, session: Session) -> None:
        """Run what a robot's next observation will run."""
        session.touch_ns = None
        assert self._pre_touch is not None
        self._pre_touch.run(lambda: self.pre_touch_run(session))
        self._counters.add("rehearsals")

    def pre_touch_run(self, session: Session) -> None:
        """Answer a robot's last observation once more, without sending."""
        session.pre_touch_run(self._served, self._clock)

    def at_work(self) -> str:
        """Return what is being answered, or was last; for another thread."""
        if self._answering is None:
            return "no observation yet"
        session, message = self._answering
        return f"observation of {session.hello.robot!r}, episode {message.episode}, tick {message.seq}"

    def goodbye(self) -> None:
        """Send Bye to every robot."""
        for session in self.sessions:
            self._send(session.identity, messages.Bye(session.number))

    def reject(self, identity: bytes, why: str) -> None:
        """Answer a frame that is no message of the protocol."""
        self._send(identity, messages.Error(0, messages.MALFORMED, why))

    def _serve_slot(self) -> Served:
        policy, options = self._slot.serving, self.options
        ranges = ObservationRange(policy.manifest, options.out_of_range_widths)
        return Served(policy, self._slot.epoch, ranges, options.refuse_out_of_range)

    def _answer(self, session: Session, message: messages.Observation, received_ns: int) -> None:
        self._answering = session, message
        reply = session.answer(message, self._served, received_ns, self._clock)
        self._send(session.identity, reply)
        if isinstance(reply, messages.Error):
            if reply.code == messages.FAR_OUTSIDE:
                self._log_out_of_range(session)
            return
        if reply.status == messages.FAR:
            self._log_out_of_range(session)
        shadow = self._slot.shadow
        if shadow is not None:
            taken = shadow.feed(session.hello.seed, message, reply)
            self._counters.add("shadow:fed" if taken else "shadow:dropped")

    def _log_out_of_range(self, session: Session) -> None:
        robot, signal = session.hello.robot, self._served.ranges.out_of_range
        extra = {"robot": robot, "signal": signal}
        log.warning("%r: %s is far outside what the policy was trained on", robot, signal, extra=extra)

    def _touch_before(self, session: Session, expected_ns: int) -> None:
        touch = self._pre_touch
        if touch is not None and not self.load.leaves_room_for_pre_touch:
            touch = None
        session.touch_ns = None if touch is None else touch.begin_ns(expected_ns, session.period_ns)

    def _admit(self, identity: bytes, hello: messages.Hello, now_ns: int) -> None:
        policy = self._served.policy
        manifest = policy.manifest
        session = self.sessions.admit(identity, hello, manifest, now_ns)
        if isinstance(session, Refusal):
            self._send(identity, messages.Refused(session.reason[:_MAX_REASON]))
            return
        self.status.publish(now_ns)
        ready = messages.Ready(
            protocol=messages.PROTOCOL,
            session=session.number,
            policy=manifest.name,
            fingerprint=policy.fingerprint,
            rate_hz=manifest.rate_hz,
            horizon=manifest.horizon,
            command=[] if manifest.recipe is None else [*manifest.recipe.command],
            predecessors=self._slot.recent[:-1],
            provider=policy.provider,
        )
        self._send(identity, ready)

    def _send(self, identity: bytes, message: messages.Message) -> None:
        self._send_frame(identity, messages.pack(message))
        self.status.count(message)  # after the reply has left
