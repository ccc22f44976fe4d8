"""What a server says to what it hears, without a socket: a frame comes in, frames go out.

Sessions, checks, inference, noise, memory, streams and rehearsals are here; `server/loop.py` waits for messages
and moments, and `server/in_process.py` asks from within the robot's own process. Nothing that is heard raises.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import WireError
from odeploy_runtime.hot_swap.shadow import Shadow
from odeploy_runtime.hot_swap.slot import Exchange
from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.server.observation_range import WIDTHS, Familiar
from odeploy_runtime.server.session import Objection, Session
from odeploy_runtime.server.sessions import Register
from odeploy_runtime.server.status import Condition
from odeploy_runtime.transport import messages as wire

log = logging.getLogger(__name__)

_MAX_REASON = 1000


class Service:
    """Answers robots with a policy.

    Attributes:
        robots: that have a session.
        condition: how it is.
        exchange: where the loop is handed another policy.
        shadow: what sees every observation and action too; set by whoever starts it, in any thread.
    """

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        pre_touch: PreTouch | None,
        counters: Counters,
        send: Callable[[bytes, bytes], None],
        far_widths: float = WIDTHS,
        refuse_far: bool = False,
    ) -> None:
        """Takes up its work.

        Args:
            policy: to begin with, loaded and proven.
            clock: of all stamps.
            pre_touch: when to rehearse; None for never.
            counters: named as `SERVER` says.
            send: takes the identity of a connection, and a frame for it.
            far_widths: see `odeploy_runtime.server.observation_range`.
            refuse_far: answer an observation that is far outside with an error, where else it is flagged.
        """
        self._policy, self._clock, self._pre_touch = policy, clock, pre_touch
        self._counters, self._send_frame = counters, send
        self._familiar = Familiar(policy.manifest, far_widths)
        self._far_widths, self._refuse_far = far_widths, refuse_far
        self.robots = Register(counters)
        self.exchange, self._epoch = Exchange(policy), 1
        self.shadow: Shadow | None = None
        self.condition = Condition(counters, self.robots, self.exchange, clock.now_ns())

    def look(self) -> None:
        """Between two messages: a new policy may take its place."""
        if self.exchange.take():
            self._policy, self._epoch = self.exchange.serving, self.exchange.epoch
            self.robots.renew(self._policy.manifest)
            self._familiar = Familiar(self._policy.manifest, self._far_widths)

    def hear(self, identity: bytes, frame: bytes, received_ns: int) -> None:
        """One frame of a connection, and whatever follows from it."""
        try:
            message = wire.unpack(frame)
        except WireError as error:
            self.refuse(identity, f"expected {error.expected}, got {error.got}")
            return
        session = self.robots.get(identity)
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
            self._send(identity, self.condition.health(received_ns, self.shadow))
        elif isinstance(message, wire.Hello):
            self._welcome(identity, message, received_ns)
        elif isinstance(message, wire.Bye):
            if session is not None:
                self.robots.end(session, "goodbye", "said goodbye")
        else:
            self.refuse(identity, f"{type(message).__name__} is a server's message")

    def stream(self, session: Session) -> None:
        """One tick of a stream: the newest observation is answered; the grid is absolute, overruns are skipped."""
        assert session.due_ns is not None
        assert session.latest is not None
        self._answer(session, *session.latest)
        behind = max(0, self._clock.now_ns() - session.due_ns) // session.period_ns
        self._counters.add("stream_ticks_skipped", behind)
        session.due_ns += (behind + 1) * session.period_ns
        self._touch_before(session, session.due_ns)

    def touch(self, session: Session) -> None:
        """Rehearses what a robot will ask for next."""
        session.touch_ns = None
        assert self._pre_touch is not None
        self._pre_touch.run(lambda: self.rehearse(session))
        self._counters.add("rehearsals")

    def rehearse(self, session: Session) -> None:
        """Goes through a robot's last observation once more, and sends nothing."""
        message = wire.unpack(session.frame)
        assert isinstance(message, wire.Observation)
        wire.pack(self._reply(session, message, self._clock.now_ns()))
        session.memory.noise.draw(message.episode, message.seq + 1)  # most likely what the next tick wants

    def goodbye(self) -> None:
        """To every robot."""
        for session in self.robots:
            self._send(session.identity, wire.Bye(session.number))

    def refuse(self, identity: bytes, why: str) -> None:
        """Answers what is no message of the protocol."""
        self._send(identity, wire.Error(0, wire.MALFORMED, why))

    def _answer(self, session: Session, message: wire.Observation, received_ns: int) -> None:
        """Replies; with that, and not with a rehearsal, a recurrent policy's state moves on."""
        reply = self._reply(session, message, received_ns)
        self._send(session.identity, reply)
        if isinstance(reply, wire.Error):
            if reply.code == wire.FAR_OUTSIDE:
                self._tell_stranger(session)
            return
        if reply.status == wire.FAR:
            self._tell_stranger(session)
        if session.memory.keeps:
            actions = np.frombuffer(reply.values, "<f4").reshape(-1, len(session.hello.action))
            session.memory.keep(self._policy, self._epoch, message.episode, message.seq, actions)
        shadow = self.shadow
        if shadow is not None:
            taken = shadow.feed(session.hello.seed, message, reply)
            self._counters.add("shadow:fed" if taken else "shadow:dropped")

    def _tell_stranger(self, session: Session) -> None:
        who, signal = session.hello.robot, self._familiar.stranger
        log.warning(
            "%r: %s is far outside of what the policy was trained on",
            who,
            signal,
            extra={"robot": who, "signal": signal},
        )

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

    def _welcome(self, identity: bytes, hello: wire.Hello, now_ns: int) -> None:
        manifest = self._policy.manifest
        session = self.robots.admit(identity, hello, manifest, now_ns)
        if isinstance(session, Objection):
            self._send(identity, wire.Refused(session.reason[:_MAX_REASON]))
            return
        self.condition.show(now_ns)
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

    def _send(self, identity: bytes, message: wire.Message) -> None:
        self._send_frame(identity, wire.pack(message))
        self.condition.count(message)  # off the robot's way
