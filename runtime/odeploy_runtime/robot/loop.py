"""The control loop: observe, request, guard, apply.

Every step of a tick is time-stamped.

It drives any `odeploy_runtime.robot.plant.Plant`, simulated or real, in one of three modes:

- `lockstep`: virtual time; the plant waits for the action.
- `realtime`: wakes on absolute deadlines, sends the observation, and applies what arrived before the deadline;
  otherwise the guard decides. Overrun ticks are skipped and counted. A tick for which an earlier answer has an
  action (`odeploy_runtime/robot/chunk_playback.py`) waits for nothing.
- `stream`: sends each observation and applies the newest action that the server's own clock has produced.

Every tick observes the plant itself, after it woke up. A simulated plant steps its physics when a command is
applied, in all three modes, so there latency changes what a robot achieves only through missed ticks.

This is the plant's process: clock, guard and plant. The network may live in another, see `transport/link.py`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.realtime.clock import Clock, Rate, Tick
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.robot.chunk_playback import Chunking, Chunks, Played
from odeploy_runtime.robot.client import Arrival, RobotClient
from odeploy_runtime.robot.counters import RobotCounters
from odeploy_runtime.robot.plant import Plant
from odeploy_runtime.safety.guard import Guard, Offer
from odeploy_runtime.safety.states import BY_HAND, Operator, State
from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, HELD, INVALID, SKIPPED, STAMPS, STOPPED
from odeploy_runtime.trace.writer import RowWriter
from odeploy_runtime.transport import messages

_LOCKSTEP_WAIT_NS = 5_000_000_000
_RUN, _SAFE, _STOP = State.RUN, State.SAFE, State.STOP  # see `odeploy_runtime.safety.states`
_NO_STAMPS = (0,) * (len(STAMPS) - 1)


@dataclass(frozen=True)
class Pace:
    """When the ticks of a loop run.

    Attributes:
        clock: the one clock of this host.
        rate_hz: ticks per wall-clock second.
        deadline_ns: time after a tick is due by which its command must be handed over; 0 in lockstep.
        pretouch: when to run the code of a tick ahead of it, so that it meets warm caches.
    """

    clock: Clock
    rate_hz: float
    deadline_ns: int
    pretouch: PreTouch


@dataclass
class ControlLoop:
    """A robot's control loop with everything that it needs.

    Attributes:
        plant: the robot.
        client: the session with the server.
        guard: the last check before the actuators.
        trace: where each tick is recorded.
        pace: when ticks run.
        operator: returns the operator's input; called once a tick.
        chunks: which action of which answer is applied. In a stream, the first one of the newest answer is.
        counters: counters for a monitor; None without one.
    """

    plant: Plant
    client: RobotClient
    guard: Guard
    trace: RowWriter
    pace: Pace
    operator: Callable[[], Operator] = Operator
    chunks: Chunks[Arrival] = field(default_factory=lambda: Chunks(Chunking()))
    counters: RobotCounters | None = None

    def __post_init__(self) -> None:
        self._clock, self._deadline_ns = self.pace.clock, self.pace.deadline_ns
        self._spare_guard = copy.deepcopy(self.guard)  # pre-touch runs must not change the real one
        self._spare_guard.rearm(0)
        self._spare_chunks = Chunks[Arrival](self.chunks.chunking)
        self._touches = self._clamped = self._next_tick = 0
        self._not_observed = messages.to_bytes(np.full(len(self.plant.observation), np.nan, np.float32))
        self._sensed = self._not_observed  # of the present tick

    def run_episode(self, mode: str, episode: int, seed: int) -> None:
        """Run one episode.

        The guard is re-armed at its start, and the trace flushed at its end.

        An interrupt is an operator's stop: the safe action is the last command, and has its row. That row has the
        observation of its tick, or NaN if the interrupt came before the tick observed.

        Args:
            mode: `lockstep`, `realtime` or `stream`.
            episode: number of the episode in messages and trace rows.
            seed: seed of the plant's reset.
        """
        self.plant.reset(seed)
        self._next_tick, self._sensed = 0, self._not_observed
        self.chunks.begin()
        try:
            if mode == "lockstep":
                self._lockstep(episode)
            else:
                self._paced(mode, episode)
        except KeyboardInterrupt:
            self._stop(episode)
            raise
        self.trace.flush()

    def _lockstep(self, episode: int) -> None:
        # The guard's time is virtual too: it stands still while the plant waits.
        period_ns = self.guard.safety.period_ns
        self.guard.rearm(0)
        for seq in range(self.plant.horizon):
            due_ns = self._clock.now_ns()
            tick = Tick(seq, due_ns, due_ns)
            sensed = self._sensed = messages.to_bytes(self.plant.observe())
            observed_ns = self._clock.now_ns()
            sent_ns, answer = 0, None
            if self.chunks.requests(seq):
                sent_ns = self.client.send(episode, seq, sensed)
                answer = self._await_answer(episode, seq, sent_ns)
                self.chunks.take_in_virtual_time(answer)
            played = self.chunks.at(seq)
            assert played is not None  # the plant waits for each answer
            virtual_ns = (seq + 1) * period_ns
            offer = Offer((episode, seq), virtual_ns, played.values)
            command = self.guard.tick(virtual_ns, virtual_ns, offer, self.operator())
            end = self._apply(episode, tick, sensed, observed_ns, sent_ns, answer, played, command)
            if end != GOES_ON:
                return

    def _await_answer(self, episode: int, seq: int, sent_ns: int) -> Arrival:
        arrival = self.client.receive(episode, seq, sent_ns + _LOCKSTEP_WAIT_NS)
        if arrival is None:
            raise UnreachableError(
                where=f"server, episode {episode}, tick {seq}",
                expected="an action",
                got=f"{self.client.last_error or 'none within 5 s'}",
                remedy="read the server's log",
            )
        return arrival

    def _paced(self, mode: str, episode: int) -> None:
        self.guard.rearm(self._clock.now_ns())
        rate = Rate(self.pace.rate_hz, self._clock)
        while True:
            tick = rate.wait(lambda due_ns: self._pre_touch(due_ns, rate.period_ns))
            for skipped in range(self._next_tick, tick.number):
                self.trace.append(episode, skipped, SKIPPED, (rate.due_ns(skipped), *_NO_STAMPS))
                if self.counters is not None:
                    self.counters.skipped()
            self._next_tick = tick.number
            sensed = self._sensed = messages.to_bytes(self.plant.observe())
            observed_ns = self._clock.now_ns()
            sends = mode == "stream" or self.chunks.requests(tick.number)
            sent_ns = self.client.send(episode, tick.number, sensed) if sends else 0
            if mode == "stream":
                answer = self.client.newest(episode)
                played = None if answer is None else Played(answer.values[0], answer, 0)
                number = -1 if answer is None else answer.tick
            else:
                answer = self._arrived(episode, tick)
                played, number = self.chunks.at(tick.number), tick.number
            now_ns = self._clock.now_ns()
            offer = None
            if played is not None:
                # The i-th action of a chunk is as fresh as an answer to its own tick, give or take the jitter.
                fresh_ns = played.chunk.observed_ns + played.place * rate.period_ns
                offer = Offer((episode, number), min(now_ns, fresh_ns), played.values)
            command = self.guard.tick(tick.due_ns, now_ns, offer, self.operator())
            end = self._apply(episode, tick, sensed, observed_ns, sent_ns, answer, played, command)
            if self.guard.state >= _SAFE:
                self.chunks.begin()  # after re-arming, actions come from observations made then
            if end != GOES_ON:
                return

    def _arrived(self, episode: int, tick: Tick) -> Arrival | None:
        """Return what arrived for this tick.

        Only a tick without an action waits for one, until its deadline.
        """
        if self.chunks.covers(tick.number):
            arrival = self.client.newest(episode)
        else:
            awaited = self.chunks.awaited(tick.number)
            arrival = self.client.receive(episode, awaited, tick.due_ns + self._deadline_ns)
        if arrival is not None:
            self.chunks.take(arrival)
        return arrival

    def _pre_touch(self, due_ns: int, period_ns: int) -> None:
        begin_ns = self.pace.pretouch.begin_ns(due_ns, period_ns)
        if begin_ns is not None and begin_ns > self._clock.now_ns():
            self._clock.sleep_until_ns(begin_ns)
            self.pace.pretouch.run(self._touch)

    def _touch(self) -> None:
        """Run the code of a tick again, without sending or commanding anything."""
        last = self.client.touch(messages.to_bytes(np.zeros(len(self.plant.observation), np.float32)))
        if last is not None:
            self._spare_chunks.begin()
            self._spare_chunks.requests(last.tick)
            self._spare_chunks.take(last)
            self._spare_chunks.at(last.tick)
        self._touches += 1
        self._spare_guard.tick(0, 0, Offer((0, self._touches), 0, self._spare_guard.safe_action))

    def _apply(
        self,
        episode: int,
        tick: Tick,
        sensed: bytes,
        observed_ns: int,
        sent_ns: int,
        answer: Arrival | None,
        played: Played[Arrival] | None,
        command: NDArray[np.float32],
    ) -> int:
        """Hand the command over and record the tick; return how the episode goes on.

        The stamp `applied` is taken when handing over begins, `stepped` when the outcome is known. `observed_ns`
        and `sent_ns` are 0 for a tick that did not observe or send; `answer` is what arrived during it.
        """
        safety, clamped = self.guard.safety, self.guard.counts.clamped
        applied_ns = self._clock.now_ns()
        self.plant.apply(command)
        outcome = self.plant.outcome()
        stepped_ns = self._clock.now_ns()
        stopped = safety.state is _STOP
        by_hand = stopped and safety.cause in BY_HAND
        end = INVALID if outcome.invalid else STOPPED if by_hand else ENDED if outcome.done or stopped else GOES_ON
        # The four server stamps belong to this tick only if its own observation was answered.
        if answer is not None and answer.tick == tick.number:
            m = answer.message
            server = m.received_ns, m.started_ns, m.inferred_ns, m.replied_ns, answer.arrived_ns
        else:
            server = 0, 0, 0, 0, 0
        self.trace.append(
            episode,
            tick.number,
            APPLIED if safety.state is _RUN else HELD,
            (tick.due_ns, tick.woke_ns, observed_ns, sent_ns, *server, applied_ns, stepped_ns),
            state=safety.state,
            cause=safety.cause,
            clamped=clamped > self._clamped,
            success=outcome.success,
            end=end,
            epoch=played.chunk.message.policy_epoch if played is not None else 0,
            reward=outcome.reward,
            age_ns=applied_ns - played.chunk.observed_ns if played is not None else 0,
            values=sensed + messages.to_bytes(command),
            offered=b"" if played is None else messages.to_bytes(played.values),
        )
        if self.counters is not None:
            late = 0 < self._deadline_ns < applied_ns - tick.due_ns
            self.counters.ran(stepped_ns, episode, missed=late or safety.state is not _RUN)
        self._next_tick, self._clamped, self._sensed = tick.number + 1, clamped, self._not_observed
        return end

    def _stop(self, episode: int) -> None:
        """Command the safe action as the last one, at once instead of on the grid.

        Nothing is observed for it, since a sensor that hangs may be the reason for the interrupt.
        """
        now_ns = self._clock.now_ns()
        command = self.guard.tick(now_ns, now_ns, None, Operator(stop=True))
        self._apply(episode, Tick(self._next_tick, now_ns, now_ns), self._sensed, 0, 0, None, None, command)
