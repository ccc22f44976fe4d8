"""The robot's session with a server, which never waits past a deadline.

Frames travel over a link: a ZeroMQ socket in this process, or an I/O process. Replies are matched by session,
episode and number; late, repeated and foreign ones are counted and dropped.

A restarted server has no session of this robot. The client then requests a new one without blocking, and sends the
tick's observation again when it has it; the guard covers the ticks in between.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import RefusedError, UnreachableError, WireError
from odeploy_runtime.realtime.clock import ANSWERS_CHECKED, Clock, in_order
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.io_process import UNSENT
from odeploy_runtime.transport.link import Link

_RETRY_NS = 10_000_000
_REQUEST_AGAIN_AFTER_NS = 100_000_000
_REMEMBERED = 1024
_NO_SESSION = messages.Ready(messages.PROTOCOL, session=-1, policy="", fingerprint="", rate_hz=0.0, horizon=0)


@dataclass
class Drops:
    """Numbers of messages that arrived and were not used, or could not be sent."""

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
        message: the server's message.
        values: its actions. Shape (H, A).
        arrived_ns: time of its arrival here.
        observed_ns: time at which its observation was sent.
    """

    message: messages.Action
    values: NDArray[np.float32]
    arrived_ns: int
    observed_ns: int

    @property
    def tick(self) -> int:
        """Tick whose observation it answers."""
        return self.message.seq


class RobotClient:
    """One session with a server.

    Attributes:
        ready: the server's answer to the handshake.
        drops: numbers of dropped messages.
        last_error: the newest error that the server reported; None without one.
        out_of_range: number of answers to observations far outside the range that the policy was trained on.
        one_clock: whether the stamps of the first answers are consistent with one clock at both ends.
    """

    def __init__(self, link: Link, hello: messages.Hello, clock: Clock, timeout_s: float) -> None:
        """Open a session over a link; close the link if that fails.

        Raises:
            UnreachableError: no answer within `timeout_s`.
            RefusedError: the server refused the robot.
        """
        self._link, self._hello, self._clock = link, messages.pack(hello), clock
        self.drops, self.out_of_range, self.one_clock = Drops(), 0, True
        self._unchecked = ANSWERS_CHECKED
        self.last_error: messages.Error | None = None
        self._action_size = len(hello.action)
        self._sent_ns = [0] * _REMEMBERED
        self._last_seq = -1
        self._newest = (-1, -1)
        self._frame = b""
        self._last = messages.Observation(0, 0, 0, 0, b"")
        self._requested_ns: int | None = None  # when a new session was last requested
        self._awaited = False  # whether the answer to that is still to come
        self._since_ns = 0  # when the current session began
        self._replaced = False  # whether the server came back with another policy
        self.ready = _NO_SESSION
        try:
            self.ready = self._shake_hands(timeout_s)
        except BaseException:
            self._link.close()
            raise

    def send(self, episode: int, seq: int, values: bytes) -> int:
        """Send one observation, or drop it if the link cannot take it at once.

        Return the time of sending [ns].
        """
        sent_ns = self._clock.now_ns()
        self._sent_ns[seq % _REMEMBERED], self._last_seq = sent_ns, seq
        self._last = messages.Observation(self.ready.session, episode, seq, sent_ns, values)
        self._put(messages.pack(self._last))
        return sent_ns

    def receive(self, episode: int, seq: int, deadline_ns: int) -> Arrival | None:
        """Return the answer to observation `seq` or a later one.

        Return None at the deadline, or at once for an error.

        If the server lost the session, the last observation is sent again in the new one.
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
                self._put(messages.pack(self._last._replace(session=self.ready.session)))
            elif isinstance(message, messages.Error) and message.seq >= seq and not self._awaited:
                return None
        return None

    def newest(self, episode: int) -> Arrival | None:
        """Return the newest action of this episode that arrived since the last call.

        Return None without one.
        """
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

    def touch(self, values: bytes) -> Arrival | None:
        """Run the code of a tick without sending, to warm what the next one will run.

        Return the last answer, decoded once more; None without one.
        """
        messages.pack(messages.Observation(self.ready.session, 0, 0, self._clock.now_ns(), values))
        message = messages.unpack(self._frame)
        self._link.touch()
        if not isinstance(message, messages.Action):
            return None
        decoded = self._decoded(message)
        return None if decoded is None else Arrival(message, decoded, 0, 0)

    def close(self) -> None:
        """End the session and close the link."""
        self._put(messages.pack(messages.Bye(self.ready.session)))
        self._link.close(linger_ms=100)  # the end of a session may take 100 ms; nothing else may

    def _shake_hands(self, timeout_s: float) -> messages.Ready:
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while True:
            self.drops.unsent = 0
            self._put(self._hello)
            while not self.drops.unsent and self._link.wait(deadline_ns):
                message = self._take()
                if isinstance(message, messages.Ready):
                    return message
                if isinstance(message, messages.Refused):
                    raise RefusedError(
                        where=f"server at {self._link.endpoint}",
                        expected="a session",
                        got=f"a refusal: {message.reason}",
                        remedy="serve a policy that fits this robot, or fix what the reason names",
                    )
            if self._clock.now_ns() >= deadline_ns:
                self._link.require_alive()
                raise self._unreachable(timeout_s)
            self._clock.sleep_until_ns(self._clock.now_ns() + _RETRY_NS)

    def _take(self) -> Arrival | messages.Message | None:
        """Receive one message and process it.

        Return None if it contains nothing for the caller.
        """
        frame = self._link.take()
        arrived_ns = self._clock.now_ns()
        if frame is None:
            return None
        if frame == UNSENT:
            self.drops.unsent += 1
            return None
        try:
            message = messages.unpack(frame)
        except WireError:
            self.drops.malformed += 1
            return None
        self._frame = frame
        if isinstance(message, messages.Action):
            return self._check(message, arrived_ns)
        if isinstance(message, messages.Ready) and self._awaited:
            self._resume(message, arrived_ns)
        elif isinstance(message, messages.Error):
            self.drops.errors += 1
            if not self._replaced:
                self.last_error = message
            if message.code == messages.UNKNOWN_SESSION:
                # An error for an observation of an earlier session does not concern this one.
                if self._sent_ns[message.seq % _REMEMBERED] < self._since_ns:
                    return None
                self._request_session(arrived_ns)
        return message

    def _request_session(self, now_ns: int) -> None:
        if self._requested_ns is None or now_ns - self._requested_ns > _REQUEST_AGAIN_AFTER_NS:
            self._awaited = self._put(self._hello)
            self._requested_ns = now_ns if self._awaited else None

    def _resume(self, ready: messages.Ready, now_ns: int) -> None:
        """Continue in a new session.

        Its policy must be the same, or have replaced that one by hot swap.
        """
        self._awaited = False
        self._replaced = self.ready.fingerprint not in (ready.fingerprint, *ready.predecessors)
        if not self._replaced:
            self.ready, self._since_ns = ready, now_ns
            self.drops.reconnects += 1
        else:
            self.last_error = messages.Error(
                0, messages.UNKNOWN_SESSION, "the server came back with another policy"
            )

    def _check(self, message: messages.Action, arrived_ns: int) -> Arrival | None:
        values = self._decoded(message)
        if values is None or message.session != self.ready.session:
            self.drops.foreign += 1
            return None
        self.out_of_range += message.status == messages.FAR
        sent_ns = self._sent_ns[message.seq % _REMEMBERED]
        if self._unchecked and message.episode == self._last.episode:
            server = message.received_ns, message.started_ns, message.inferred_ns, message.replied_ns
            self._unchecked -= 1
            self.one_clock &= in_order((sent_ns, *server, arrived_ns))
        return Arrival(message, values, arrived_ns, sent_ns)

    def _decoded(self, message: messages.Action) -> NDArray[np.float32] | None:
        """Return the actions, (H, A); None for another length."""
        horizon, size = self.ready.horizon, self._action_size
        values = messages.from_bytes(message.values, horizon * size)
        return None if values is None else values.reshape(horizon, size)

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
