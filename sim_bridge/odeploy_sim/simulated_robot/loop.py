"""The robot's side of the loop: read, ask, guard, apply, step; every moment of it stamped.

One function a mode, each reading as its contract:

- `lockstep`: virtual time; the simulation waits for the action.
- `realtime`: wakes on absolute deadlines, asks, and applies what arrived before the deadline; otherwise the
  guard decides. Ticks that were overrun are skipped and counted. A tick for which an earlier answer has an
  action (`odeploy_runtime/robot/chunk_playback.py`) waits for nothing.
- `stream`: sends each observation and applies the newest action that the server's own clock has produced.

The physics waits for its tick in all three, so latency changes what a robot achieves only through misses.
This is the plant's process: clock, guard and simulation. The network may live in another, see `transport/link.py`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UnreachableError, UsageError
from odeploy_runtime.realtime.clock import Clock, Rate, Tick
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.robot.chunk_playback import Chunking, Chunks, Played
from odeploy_runtime.robot.client import Arrival, RobotClient
from odeploy_runtime.robot.counters import RobotCounters
from odeploy_runtime.safety.guard import Guard, Offer
from odeploy_runtime.safety.states import BY_HAND, Operator, State
from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, HELD, INVALID, SKIPPED, STAMPS, STOPPED
from odeploy_runtime.trace.writer import RowWriter
from odeploy_runtime.transport import messages as wire
from odeploy_sim.tasks.env import Step, TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

_LOCKSTEP_WAIT_NS = 5_000_000_000
_RUN, _SAFE, _STOP = State.RUN, State.SAFE, State.STOP  # see `odeploy_runtime.safety.states`
_STEPS_TIMED = 500
_NO_STAMPS = (0,) * (len(STAMPS) - 1)


def as_observed(observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a robot sends that nobody commands."""
    return observation


@dataclass
class Robot:
    """A simulated robot with everything that its loop needs.

    Attributes:
        env: the simulation.
        client: the session with the server.
        guard: the last word before the actuators.
        trace: where each tick is recorded.
        clock: the one clock of this host.
        rate_hz: ticks per wall-clock second.
        deadline_ns: after due, by when a command must be handed over.
        pre_touch: when to rehearse before a tick.
        operator: what the person beside the robot wants, asked once a tick.
        chunks: which action of which answer is applied; in a stream the first of the newest is.
        sense: what is sent for what was observed. Shapes (R,) -> (R,).
        counters: for whoever watches from outside; None where nobody does.
    """

    env: TaskEnv
    client: RobotClient
    guard: Guard
    trace: RowWriter
    clock: Clock
    rate_hz: float
    deadline_ns: int
    pre_touch: PreTouch
    operator: Callable[[], Operator] = Operator
    chunks: Chunks[Arrival] = field(default_factory=lambda: Chunks(Chunking()))
    sense: Callable[[NDArray[np.float32]], NDArray[np.float32]] = as_observed
    counters: RobotCounters | None = None

    def __post_init__(self) -> None:
        self._understudy = copy.deepcopy(self.guard)  # rehearsals must not move the real one
        self._understudy.rearm(0)
        self._rehearsals = self._clamped = self._next_tick = 0

    def run_episode(self, mode: str, episode: int, seed: int) -> None:
        """Runs one episode; the guard is re-armed at its start, and the trace flushed at its end.

        An interrupt is an operator's stop: the safe action is the last command, and has its row.
        """
        self._observation = observation = self.env.reset(episode_seed(seed, episode))
        self._next_tick = 0
        self.chunks.begin()
        try:
            if mode == "lockstep":
                self._lockstep(episode, observation)
            else:
                self._paced(mode, episode, observation)
        except KeyboardInterrupt:
            self._stop(episode)
            raise
        self.trace.flush()

    def _lockstep(self, episode: int, observation: NDArray[np.float32]) -> None:
        # The guard's time is virtual too: it stands still while the simulation waits.
        period_ns = self.guard.safety.period_ns
        self.guard.rearm(0)
        for seq in range(self.env.task.horizon):
            due_ns = self.clock.now_ns()
            tick = Tick(seq, due_ns, due_ns)
            sensed = wire.to_bytes(self.sense(observation))
            observed_ns = self.clock.now_ns()
            sent_ns, answer = 0, None
            if self.chunks.asks(seq):
                sent_ns = self.client.send(episode, seq, sensed)
                answer = self._waited_for(episode, seq, sent_ns)
                self.chunks.take_in_virtual_time(answer)
            played = self.chunks.at(seq)
            assert played is not None  # the simulation waits for each answer
            virtual_ns = (seq + 1) * period_ns
            offer = Offer((episode, seq), virtual_ns, played.values)
            command = self.guard.tick(virtual_ns, virtual_ns, offer, self.operator())
            step, end = self._apply(episode, tick, sensed, observed_ns, sent_ns, answer, played, command)
            observation = step.observation
            if end != GOES_ON:
                return

    def _waited_for(self, episode: int, seq: int, sent_ns: int) -> Arrival:
        arrival = self.client.receive(episode, seq, sent_ns + _LOCKSTEP_WAIT_NS)
        if arrival is None:
            raise UnreachableError(
                where=f"server, episode {episode}, tick {seq}",
                expected="an action",
                got=f"{self.client.last_error or 'none within 5 s'}",
                remedy="see what the server printed",
            )
        return arrival

    def _paced(self, mode: str, episode: int, observation: NDArray[np.float32]) -> None:
        self.guard.rearm(self.clock.now_ns())
        rate = Rate(self.rate_hz, self.clock)
        while True:
            tick = rate.wait(lambda due_ns: self._rehearse(due_ns, rate.period_ns))
            for skipped in range(self._next_tick, tick.number):
                self.trace.append(episode, skipped, SKIPPED, (rate.due_ns(skipped), *_NO_STAMPS))
                if self.counters is not None:
                    self.counters.skipped()
            self._next_tick = tick.number
            sensed = wire.to_bytes(self.sense(observation))
            observed_ns = self.clock.now_ns()
            asks = mode == "stream" or self.chunks.asks(tick.number)
            sent_ns = self.client.send(episode, tick.number, sensed) if asks else 0
            if mode == "stream":
                answer = self.client.newest(episode)
                played = None if answer is None else Played(answer.values[0], answer, 0)
                number = -1 if answer is None else answer.tick
            else:
                answer = self._heard(episode, tick)
                played, number = self.chunks.at(tick.number), tick.number
            now_ns = self.clock.now_ns()
            offer = None
            if played is not None:
                # The i-th action of a chunk is as fresh as an answer to its own tick, give or take the jitter.
                fresh_ns = played.chunk.observed_ns + played.place * rate.period_ns
                offer = Offer((episode, number), min(now_ns, fresh_ns), played.values)
            command = self.guard.tick(tick.due_ns, now_ns, offer, self.operator())
            step, end = self._apply(episode, tick, sensed, observed_ns, sent_ns, answer, played, command)
            observation = step.observation
            if self.guard.state >= _SAFE:
                self.chunks.begin()  # whoever re-arms begins with what is seen then
            if end != GOES_ON:
                return

    def _heard(self, episode: int, tick: Tick) -> Arrival | None:
        """What came for this tick; only a tick that has no action yet waits for one, up to its deadline."""
        if self.chunks.covers(tick.number):
            arrival = self.client.newest(episode)
        else:
            awaited = self.chunks.awaited(tick.number)
            arrival = self.client.receive(episode, awaited, tick.due_ns + self.deadline_ns)
        if arrival is not None:
            self.chunks.take(arrival)
        return arrival

    def _rehearse(self, due_ns: int, period_ns: int) -> None:
        begin_ns = self.pre_touch.begin_ns(due_ns, period_ns)
        if begin_ns is not None and begin_ns > self.clock.now_ns():
            self.clock.sleep_until_ns(begin_ns)
            self.pre_touch.run(self._go_through_the_motions)

    def _go_through_the_motions(self) -> None:
        self.client.rehearse(wire.to_bytes(np.zeros(len(self.env.task.observation), np.float32)))
        self._rehearsals += 1
        self._understudy.tick(0, 0, Offer((0, self._rehearsals), 0, self._understudy.safe_action))

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
    ) -> tuple[Step, int]:
        """Hands over, steps and records one tick; says how the episode goes on.

        `sent_ns` is 0 for a tick that asked nothing; `answer` is what came during it.
        """
        safety, clamped = self.guard.safety, self.guard.counts.clamped
        applied_ns = self.clock.now_ns()
        step = self.env.step(command)
        stepped_ns = self.clock.now_ns()
        stopped = safety.state is _STOP
        by_hand = stopped and safety.cause in BY_HAND
        end = INVALID if step.invalid else STOPPED if by_hand else ENDED if step.done or stopped else GOES_ON
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
            success=step.success,
            end=end,
            epoch=played.chunk.message.policy_epoch if played is not None else 0,
            reward=step.reward,
            age_ns=applied_ns - played.chunk.observed_ns if played is not None else 0,
            values=sensed + wire.to_bytes(command),
            offered=b"" if played is None else wire.to_bytes(played.values),
        )
        if self.counters is not None:
            late = 0 < self.deadline_ns < applied_ns - tick.due_ns
            self.counters.ran(stepped_ns, episode, missed=late or safety.state is not _RUN)
        self._next_tick, self._clamped, self._observation = tick.number + 1, clamped, step.observation
        return step, end

    def _stop(self, episode: int) -> None:
        """Commands the safe action for the last time, at once and not on the grid."""
        sensed, now_ns = wire.to_bytes(self.sense(self._observation)), self.clock.now_ns()
        command = self.guard.tick(now_ns, now_ns, None, Operator(stop=True))
        tick = Tick(self._next_tick, now_ns, now_ns)
        self._apply(episode, tick, sensed, now_ns, now_ns, None, None, command)


class StepTime(NamedTuple):
    """How long the simulation takes for a step, ns: usually, and at most but for one in a hundred."""

    p50_ns: int
    p99_ns: int


def measured_step(env: TaskEnv, clock: Clock) -> StepTime:
    """Times steps with the safe action."""
    action, took = np.array(env.task.safe_action, np.float32), []
    env.reset(0)
    for _ in range(_STEPS_TIMED):
        start_ns = clock.now_ns()
        done = env.step(action).done
        took.append(clock.now_ns() - start_ns)
        if done:
            env.reset(0)
    return StepTime(*(int(ns) for ns in np.percentile(took, (50, 99))))


def deadline_after_due_ns(task: Task, rate_hz: float, step: StepTime) -> int:
    """T minus the time that the simulation needs: its p99, or half of T where a busy machine made that long.

    Raises:
        UsageError: the simulation usually fills the period alone.
    """
    period_ns = round(1e9 / rate_hz)
    if step.p50_ns >= period_ns:
        raise UsageError(
            where="--rate",
            expected=f"a rate at which {task.name}'s step of {step.p50_ns / 1e6:.2f} ms leaves time to decide",
            got=f"{rate_hz:g} Hz",
            remedy=f"stay below {0.5e9 / step.p50_ns:.0f} Hz",
        )
    return period_ns - min(step.p99_ns, max(step.p50_ns, period_ns // 2))
