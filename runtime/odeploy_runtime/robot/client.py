"""The robot's end of the wire: sends observations, receives actions, never waits past a deadline.

Frames go over a link: a ZeroMQ socket in this process, or a courier in another. Replies are recognised by
session, episode and number; a late, repeated or foreign one is counted and dropped. A server that was
restarted does not know the session: the client asks for a new one on the way, without blocking, and sends the
tick's observation again once it has it; the guard covers the ticks in between.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import RefusedError, UnreachableError, WireError
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport import messages as wire
from odeploy_runtime.transport.io_process import UNSENT
from odeploy_runtime.transport.link import Link

_RETRY_NS = 10_000_000
_ASK_AGAIN_AFTER_NS = 100_000_000
_REMEMBERED = 1024
_NOBODY = wire.Ready(wire.PROTOCOL, session=-1, policy="", fingerprint="", rate_hz=0.0, horizon=0)


@dataclass
class Drops:
    """What arrived and was not used, or could not be sent."""

    late: int = 0
    repeated: int = 0
    foreign: int = 0
    malformed: int = 0
    errors: int = 0
    unsent: int = 0
    reconnects: int = 0


class Arrival(NamedTuple):
    """An action that may be applied.

    Attributes:
        message: as it came.
        values: Shape (H, A).
        arrived_ns: when it was received here.
        observed_ns: when the observation behind it was sent.
    """

    message: wire.Action
    values: NDArray[np.float32]
    arrived_ns: int
    observed_ns: int

    @property
    def tick(self) -> int:
        """Whose observation it answers."""
        return self.message.seq


class RobotClient:
    """One session with a server.

    Attributes:
        ready: the server's answer to the handshake.
        drops: what was not used.
        last_error: the newest error that the server reported.
        far: answers to observations far outside of what the policy was trained on.
    """

    def __init__(self, link: Link, hello: wire.Hello, clock: Clock, timeout_s: float) -> None:
        """Shakes hands over a link, which is closed where that fails.

        Raises:
            UnreachableError: no answer within `timeout_s`.
            RefusedError: the server said no.
        """
        self._link, self._hello, self._clock = link, wire.pack(hello), clock
        self.drops, self.far = Drops(), 0
        self.last_error: wire.Error | None = None
        self._action_size = len(hello.action)
        self._sent_ns = [0] * _REMEMBERED
        self._last_seq = -1
        self._newest = (-1, -1)
        self._frame = b""
        self._last = wire.Observation(0, 0, 0, 0, b"")
        self._asked_ns: int | None = None  # when a new session was last asked for
        self._awaited = False  # whether its answer is still to come
        self._since_ns = 0  # when the present session began
        self._replaced = False  # whether the server came back with another policy
        self.ready = _NOBODY
        try:
            self.ready = self._shake_hands(timeout_s)
        except BaseException:
            self._link.close()
            raise

    def send(self, episode: int, seq: int, values: bytes) -> int:
        """Sends one observation, or drops it where it cannot leave at once; returns the time of sending."""
        sent_ns = self._clock.now_ns()
        self._sent_ns[seq % _REMEMBERED], self._last_seq = sent_ns, seq
        self._last = wire.Observation(self.ready.session, episode, seq, sent_ns, values)
        self._put(wire.pack(self._last))
        return sent_ns

    def receive(self, episode: int, seq: int, deadline_ns: int) -> Arrival | None:
        """The answer to observation `seq` or a later one; None at the deadline, or at once for an error.

        Where the server had lost the session, the last observation goes out once more as soon as there is another.
        """
        while self._link.wait(deadline_ns):
            message = self._take()
            if isinstance(message, Arrival):
                number = (message.message.episode, message.message.seq)
                if number[0] == episode and seq <= number[1] <= max(seq, self._last_seq):
                    self._newest = number
                    return message
                self.drops.late += 1
            elif message is self.ready:
                self._put(wire.pack(self._last._replace(session=self.ready.session)))
            elif isinstance(message, wire.Error) and message.seq >= seq and not self._awaited:
                return None
        return None

    def newest(self, episode: int) -> Arrival | None:
        """In stream mode: the newest action of this episode that arrived since the last call."""
        best = None
        while self._link.wait(0):
            message = self._take()
            if isinstance(message, Arrival):
                number = (message.message.episode, message.message.seq)
                if number == self._newest:
                    self.drops.repeated += 1
                elif number[0] == episode and number > self._newest:
                    best, self._newest = message, number
                else:
                    self.drops.late += 1
        return best

    def rehearse(self, values: bytes) -> None:
        """Goes through the motions of a tick without sending: warms what the next one will run."""
        wire.pack(wire.Observation(self.ready.session, 0, 0, self._clock.now_ns(), values))
        wire.unpack(self._frame)
        self._link.touch()

    def close(self) -> None:
        """Says goodbye and closes."""
        self._put(wire.pack(wire.Bye(self.ready.session)))
        self._link.close(linger_ms=100)  # a goodbye may take 100 ms; nothing else may

    def _shake_hands(self, timeout_s: float) -> wire.Ready:
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while True:
            self.drops.unsent = 0
            self._put(self._hello)
            while not self.drops.unsent and self._link.wait(deadline_ns):
                message = self._take()
                if isinstance(message, wire.Ready):
                    return message
                if isinstance(message, wire.Refused):
                    raise RefusedError(
                        where=f"server at {self._link.endpoint}",
                        expected="a session",
                        got=f"a refusal: {message.reason}",
                        remedy="serve a policy that fits this robot, or mend what the reason names",
                    )
            if self._clock.now_ns() >= deadline_ns:
                self._link.require_alive()
                raise self._unreachable(timeout_s)
            self._clock.sleep_until_ns(self._clock.now_ns() + _RETRY_NS)

    def _take(self) -> Arrival | wire.Message | None:
        """Receives one message and does what it asks for; None if there is nothing for the caller in it."""
        frame = self._link.take()
        arrived_ns = self._clock.now_ns()
        if frame is None:
            return None
        if frame == UNSENT:
            self.drops.unsent += 1
            return None
        try:
            message = wire.unpack(frame)
        except WireError:
            self.drops.malformed += 1
            return None
        self._frame = frame
        if isinstance(message, wire.Action):
            return self._check(message, arrived_ns)
        if isinstance(message, wire.Ready) and self._awaited:
            self._resume(message, arrived_ns)
        elif isinstance(message, wire.Error):
            self.drops.errors += 1
            if not self._replaced:
                self.last_error = message
            if message.code == wire.UNKNOWN_SESSION:
                # An observation from before the present session says nothing about it.
                if self._sent_ns[message.seq % _REMEMBERED] < self._since_ns:
                    return None
                self._ask_again(arrived_ns)
        return message

    def _ask_again(self, now_ns: int) -> None:
        if self._asked_ns is None or now_ns - self._asked_ns > _ASK_AGAIN_AFTER_NS:
            self._awaited = self._put(self._hello)
            self._asked_ns = now_ns if self._awaited else None

    def _resume(self, ready: wire.Ready, now_ns: int) -> None:
        """Takes up a new session with the policy that this robot knows, or with what that was swapped for."""
        self._awaited = False
        self._replaced = self.ready.fingerprint not in (ready.fingerprint, *ready.predecessors)
        if not self._replaced:
            self.ready, self._since_ns = ready, now_ns
            self.drops.reconnects += 1
        else:
            self.last_error = wire.Error(0, wire.UNKNOWN_SESSION, "the server came back with another policy")

    def _check(self, message: wire.Action, arrived_ns: int) -> Arrival | None:
        values = wire.from_bytes(message.values, self.ready.horizon * self._action_size)
        if values is None or message.session != self.ready.session:
            self.drops.foreign += 1
            return None
        self.far += message.status == wire.FAR
        values = values.reshape(self.ready.horizon, self._action_size)
        return Arrival(message, values, arrived_ns, self._sent_ns[message.seq % _REMEMBERED])

    def _put(self, frame: bytes) -> bool:
        sent = self._link.put(frame)
        self.drops.unsent += not sent
        return sent

    def _unreachable(self, timeout_s: float) -> UnreachableError:
        return UnreachableError(
            where=f"server at {self._link.endpoint}",
            expected=f"an answer within {timeout_s:g} s",
            got="none",
            remedy=f"start it: odeploy serve FILE --endpoint {self._link.endpoint}",
        )
