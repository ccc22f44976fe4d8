"""One robot's session with the server, and all that one of its ticks does."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.pretouch import Arrivals
from odeploy_runtime.server.observation_range import ObservationRange
from odeploy_runtime.transport import messages

FREED_AFTER_NS = 1_000_000_000
_BEGINS_WITHIN_NS = 5_000_000_000  # a robot opens its trace and begins an episode after the handshake
_SILENT_PERIODS = 3  # at low rates, a lost observation ends no session


@dataclass(frozen=True, slots=True)
class Served:
    """The policy that answers.

    Attributes:
        policy: loaded and warm.
        epoch: counts the policies since the server's start, from 1.
        ranges: check of its observations.
        refuse_out_of_range: answer an observation out of range with an error, instead of a flagged action.
    """

    policy: Policy
    epoch: int
    ranges: ObservationRange
    refuse_out_of_range: bool


@dataclass
class Session:
    """One robot's session.

    Attributes:
        identity: identity of its connection.
        number: number of the session.
        hello: the robot's handshake message.
        state: policy state, on which answers depend besides the observation.
        last_received_ns: arrival of its last observation, or of its handshake before the first.
        frame: its last observation as received, for pre-touch runs.
        arrivals: predicts its next observation.
        touch_ns: start of the next pre-touch run; None without one before the next observation.
        due_ns: in stream mode, when the next action is due; None before the first observation.
        latest: in stream mode, the newest observation and its arrival.
    """

    identity: bytes
    number: int
    hello: messages.Hello
    state: PolicyState
    last_received_ns: int
    frame: bytes = b""
    arrivals: Arrivals = field(default_factory=Arrivals)
    touch_ns: int | None = None
    due_ns: int | None = None
    latest: tuple[messages.Observation, int] | None = None

    @property
    def period_ns(self) -> int:
        """T at the robot's rate."""
        return round(1e9 / self.hello.rate_hz)

    def is_silent(self, now_ns: int) -> bool:
        """Return whether the robot has been silent until its session's end.

        That is 1 s without an observation (5 s before the first), and 3 T at low rates.
        """
        least_ns = FREED_AFTER_NS if self.frame else _BEGINS_WITHIN_NS
        return now_ns - self.last_received_ns >= max(least_ns, _SILENT_PERIODS * self.period_ns)

    def answer(
        self, message: messages.Observation, served: Served, received_ns: int, clock: Clock, *, commit: bool = True
    ) -> messages.Action | messages.Error:
        """Answer an observation with an action, or with an error that names the reason.

        Args:
            message: observation of this session.
            served: the policy that answers.
            received_ns: arrival of the message, the first of the action's four stamps.
            clock: clock of the other stamps.
            commit: let later answers depend on this one; False for a pre-touch run.
        """
        raw = self._sensed(message)
        if isinstance(raw, messages.Error):
            return raw
        policy, episode, seq = served.policy, message.episode, message.seq
        observation, noise = self.state.prepare(policy, served.epoch, episode, seq, raw)
        in_range = served.ranges.contains(observation)
        if not in_range and served.refuse_out_of_range:
            return messages.Error(seq, messages.FAR_OUTSIDE, served.ranges.out_of_range)
        started_ns = clock.now_ns()
        actions = policy.infer(observation, noise)
        inferred_ns = clock.now_ns()
        culprit = messages.first_not_finite(actions.reshape(-1), self.hello.action)
        if culprit is not None:
            return messages.Error(seq, messages.INFERENCE_FAILED, culprit)
        if commit and self.state.keeps:
            self.state.commit(policy, served.epoch, episode, seq, actions)
        return messages.Action(
            session=message.session,
            episode=episode,
            seq=seq,
            policy_epoch=served.epoch,
            status=messages.OK if in_range else messages.FAR,
            received_ns=received_ns,
            started_ns=started_ns,
            inferred_ns=inferred_ns,
            replied_ns=clock.now_ns(),
            values=messages.to_bytes(actions),
        )

    def pre_touch_run(self, served: Served, clock: Clock) -> None:
        """Answer the last observation once more, from decoding to the encoded reply.

        Send and commit nothing.
        """
        message = messages.unpack(self.frame)
        assert isinstance(message, messages.Observation)
        messages.pack(self.answer(message, served, clock.now_ns(), clock, commit=False))
        self.state.noise.draw(message.episode, message.seq + 1)  # most likely the next tick's

    def store(self, message: messages.Observation, received_ns: int) -> None:
        """Store a stream's newest observation.

        A history includes those that no tick answers.
        """
        self.latest = message, received_ns
        raw = self._sensed(message)
        if not isinstance(raw, messages.Error):
            self.state.observe(message.episode, message.seq, raw)
        if self.due_ns is None:
            # Half a period beside the robot's own grid, so that jitter never makes the two race.
            self.due_ns = received_ns + self.period_ns // 2

    def advance(self, now_ns: int) -> int:
        """Set a stream's next tick on its absolute grid.

        Return the number of skipped ticks.
        """
        assert self.due_ns is not None
        behind = max(0, now_ns - self.due_ns) // self.period_ns
        self.due_ns += (behind + 1) * self.period_ns
        return behind

    def _sensed(self, message: messages.Observation) -> NDArray[np.float32] | messages.Error:
        """Return the robot's observation, (R,), if it has the right length and is finite."""
        names = self.hello.observation
        raw = messages.from_bytes(message.values, len(names))
        if raw is None:
            return messages.Error(message.seq, messages.WRONG_LENGTH, f"{4 * len(names)} bytes")
        culprit = messages.first_not_finite(raw, names)
        if culprit is not None:
            return messages.Error(message.seq, messages.NOT_FINITE, culprit)
        return raw
