"""The control loop on a simulated clock, with a plant and a server of given durations."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.reports.latency import stages_ns, summary, totals_ns
from odeploy_runtime.robot.chunk_playback import Chunking, Chunks
from odeploy_runtime.robot.client import Arrival, Drops, RobotClient
from odeploy_runtime.robot.counters import ROBOT, RobotCounters
from odeploy_runtime.robot.loop import ControlLoop, Pace
from odeploy_runtime.safety.guard import Guard
from odeploy_runtime.safety.states import Cause, Operator, Safety, State
from odeploy_runtime.testing import FakeClock, FakePlant
from odeploy_runtime.trace.format import APPLIED, GOES_ON, HELD, SKIPPED, STAMPS, STOPPED, Trace, new_header
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_runtime.transport import messages

MS = 1_000_000
T = 10 * MS  # at 100 Hz
DEADLINE = 8 * MS


class FakeClient:
    """Client that answers with the tick's action after `delays_ns[seq]` (default 0.5 ms; None: never)."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.delays_ns: dict[int, int | None] = {}
        self.act: Callable[[int], list[float]] = lambda seq: [0.01 * seq, -0.5]
        self.sent: list[tuple[int, int, bytes]] = []
        self.waiting: list[Arrival] = []  # in stream mode
        self.last_error: messages.Error | None = None
        self.touched_ns: list[int] = []
        self.drops, self.out_of_range = Drops(), 0

    def arrival(self, episode: int, seq: int, sent_ns: int, arrived_ns: int) -> Arrival:
        received, started, inferred, replied = (sent_ns + (arrived_ns - sent_ns) // 5 * i for i in range(1, 5))
        values = np.array([self.act(seq), [9, 9]], np.float32)
        data = messages.to_bytes(values)
        message = messages.Action(1, episode, seq, 3, messages.OK, received, started, inferred, replied, data)
        return Arrival(message, values, arrived_ns, sent_ns)

    def send(self, episode: int, seq: int, values: bytes) -> int:
        self.sent.append((episode, seq, values))
        self.sent_ns = self.clock.ns
        return self.sent_ns

    def receive(self, episode: int, seq: int, deadline_ns: int) -> Arrival | None:
        assert seq <= self.sent[-1][1]
        seq = self.sent[-1][1]  # a later answer is accepted too
        delay_ns = self.delays_ns.get(seq, MS // 2)
        if delay_ns is None or self.clock.ns + delay_ns > deadline_ns:
            self.clock.ns = max(self.clock.ns, deadline_ns)
            return None
        self.clock.ns += delay_ns
        return self.arrival(episode, seq, self.sent_ns, self.clock.ns)

    def newest(self, episode: int) -> Arrival | None:
        return self.waiting.pop() if self.waiting else None

    def touch(self, values: bytes) -> Arrival | None:
        self.touched_ns.append(self.clock.ns)
        return self.arrival(*self.sent[-1][:2], 0, 0) if self.sent else None


class Bench:
    """Loop with its doubles and its trace."""

    def __init__(self, path: Path, hot_call_ns: int = 10_000) -> None:
        self.path, self.clock = path, FakeClock()
        self.plant, self.client = FakePlant(self.clock), FakeClient(self.clock)
        self.guard = Guard(FakePlant.action, np.array(FakePlant.safe_action, np.float32), Safety(100.0))
        header = new_header(
            task="toy",
            scored_by="success",
            mode="realtime",
            rate_hz=100.0,
            task_rate_hz=100.0,
            deadline_ns=DEADLINE,
            seed=1,
            policy="p",
            fingerprint="f",
            observation=FakePlant.observation,
            action=FakePlant.action,
            obtained={},
        )
        self.writer = TraceWriter(path, header, 64)
        self.loop = ControlLoop(
            self.plant,
            cast(RobotClient, self.client),
            self.guard,
            self.writer,
            Pace(self.clock, 100.0, DEADLINE, PreTouch(hot_call_ns, self.clock)),
        )

    def run(self, mode: str, episodes: int = 1, seed: int = 1) -> Trace:
        """Run episodes and read the trace; it is closed even if the loop fails."""
        try:
            for episode in range(episodes):
                self.loop.run_episode(mode, episode, 100 * seed + episode)
        finally:
            self.writer.close()
        return read_trace(self.path)

    def kinds(self, trace: Trace) -> list[int]:
        return [int(kind) for kind in trace.rows["kind"]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "t.trace")
    yield made
    made.writer.close()


def stamp(trace: Trace, name: str) -> list[int]:
    return [int(ns) for ns in trace.rows["stamps"][:, STAMPS.index(name)]]


# ---- every mode


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_the_counters_agree_with_the_trace(bench: Bench, mode: str) -> None:
    """The run has a clamped tick, an overrun and, in real time, a server that is silent from then on."""
    counters = Counters(ROBOT)
    bench.client.drops, bench.client.out_of_range = Drops(late=7), 2
    bench.loop.counters = RobotCounters(counters, bench.guard, cast(RobotClient, bench.client))
    bench.client.act = lambda seq: [0.01 * seq if seq != 1 else 99.0, -0.5]
    bench.plant.takes_ns = {2: 25 * MS}
    bench.client.delays_ns = dict.fromkeys(range(7, 10), None) if mode == "realtime" else {}
    trace = bench.run(mode, episodes=2)
    rows, found = trace.rows, summary(trace)
    for state in State:
        ran = (rows["kind"] != SKIPPED) & (rows["state"] == state)
        assert counters[f"ticks:{state.name.lower()}"] == ran.sum()
    assert counters["ticks:skipped"] == (rows["kind"] == SKIPPED).sum() == (2 if mode == "realtime" else 0)
    assert counters["held:missing"] + counters["held:silence"] == (6 if mode == "realtime" else 0)
    assert counters["misses"] == found.misses
    bench.loop.counters.copy(1)
    assert counters["clamped"] == rows["clamped"].sum() == 2
    assert (counters["drops:late"], counters["far_observations"], counters["episode"]) == (7, 2, 1)
    assert counters["state"] == bench.guard.state
    assert counters["ready"] == (bench.guard.state < State.SAFE)
    entered = [counters[f"entered:{state.name.lower()}"] for state in State]
    assert sum(entered) == bench.guard.safety.transitions.total()


def test_published_counters_are_current_to_the_last_tick(bench: Bench) -> None:
    counters = Counters(ROBOT)
    bench.client.drops, bench.client.out_of_range = Drops(late=7), 0
    bench.loop.counters = RobotCounters(counters, bench.guard, cast(RobotClient, bench.client))
    bench.run("realtime")
    assert counters["turned_ns"] == bench.clock.ns
    assert counters["drops:late"] == 7


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_every_tick_of_an_episode_is_observed_answered_applied_and_recorded(bench: Bench, mode: str) -> None:
    trace = bench.run(mode)
    assert bench.kinds(trace) == [APPLIED] * 10
    np.testing.assert_array_equal(trace.rows["tick"], range(10))
    np.testing.assert_array_equal(trace.rows["observation"][:, 0], range(10))
    np.testing.assert_allclose(trace.rows["action"][:, 0], 0.01 * np.arange(10), rtol=1e-6)
    np.testing.assert_allclose(bench.plant.commands, trace.rows["action"], rtol=1e-7)
    np.testing.assert_allclose(trace.rows["reward"], 0.5 * np.arange(1, 11))
    assert trace.rows["success"].tolist() == [0] * 9 + [1]
    assert set(trace.rows["epoch"]) == {3}
    sent = [
        (0, seq, messages.to_bytes(np.array([seq, bench.plant.seeds[0] % 1000], np.float32))) for seq in range(10)
    ]
    assert bench.client.sent == sent


@pytest.mark.parametrize("mode", ["lockstep", "realtime", "stream"])
def test_an_episode_is_reset_with_its_own_seed_and_the_guard_is_rearmed(bench: Bench, mode: str) -> None:
    bench.guard.safety.state = State.STOP
    bench.run(mode, episodes=3, seed=7)
    assert bench.plant.seeds == [700, 701, 702]
    assert bench.guard.state is not State.STOP


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_an_episode_ends_when_the_task_ends_it(bench: Bench, mode: str) -> None:
    bench.plant.ends_at = 4
    assert len(bench.run(mode).rows) == 4


def test_rows_are_in_the_file_when_an_episode_ends(bench: Bench) -> None:
    bench.loop.run_episode("lockstep", 0, 1)
    assert len(read_trace(bench.path).rows) == 10


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_the_first_action_of_a_chunk_is_applied(bench: Bench, mode: str) -> None:
    bench.client.act = lambda seq: [0.25, 0.75]
    bench.run(mode)
    assert bench.plant.commands == [[0.25, 0.75]] * 10


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_a_clamped_command_is_applied_within_limits_and_marked(bench: Bench, mode: str) -> None:
    bench.client.act = lambda seq: [5.0, 0.0] if seq == 3 else [0.5, 0.0]
    trace = bench.run(mode)
    assert trace.rows["clamped"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert bench.plant.commands[3] == [1.0, 0.0]


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_a_non_finite_action_never_reaches_the_simulation(bench: Bench, mode: str) -> None:
    bench.client.act = lambda seq: [float("nan"), 0.0] if seq in (2, 3) else [0.5, 0.0]
    trace = bench.run(mode)
    assert bench.plant.commands == [[0.5, 0.0]] * 10
    assert bench.kinds(trace)[2:4] == [HELD, HELD]


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_a_stopped_guard_ends_the_episode(bench: Bench, mode: str) -> None:
    bench.client.act = lambda seq: [float("nan"), 0.0]
    bench.plant.ends_at, bench.guard.safety.stop_ns = 99, 5 * T
    bench.plant.horizon = 99
    trace = bench.run(mode)
    states = trace.rows["state"].tolist()
    assert states == [State.HOLD] * 2 + [State.SAFE] * 5 + [State.STOP]
    assert bench.plant.commands[2:] == [[0.0, -1.0]] * 6


@pytest.mark.parametrize("mode", ["lockstep", "realtime", "stream"])
def test_an_interrupt_commands_and_records_the_safe_action_before_it_propagates(bench: Bench, mode: str) -> None:
    def read() -> Operator:
        if len(bench.plant.commands) == 4:
            raise KeyboardInterrupt
        return Operator()

    bench.client.act = lambda seq: [0.5, 0.0]
    bench.loop.operator = read
    with pytest.raises(KeyboardInterrupt):
        bench.run(mode)
    rows = read_trace(bench.path).rows
    assert bench.plant.commands[4:] == [[0.0, -1.0]]
    assert rows["tick"].tolist() == list(range(5))
    assert rows["observation"][:, 0].tolist() == list(range(5))
    last = rows[-1]
    assert (last["kind"], last["state"], last["cause"], last["end"]) == (HELD, State.STOP, Cause.OPERATOR, STOPPED)


def test_an_interrupt_of_a_sensor_that_hangs_commands_the_safe_action_without_observing_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe, calls = bench.plant.observe, list[int]()

    def hanging() -> NDArray[np.float32]:
        calls.append(len(bench.plant.commands))
        if len(calls) == 4:
            raise KeyboardInterrupt  # the operator's, who sees that nothing moves any more
        return observe()

    monkeypatch.setattr(bench.plant, "observe", hanging)
    bench.client.act = lambda seq: [0.5, 0.0]
    with pytest.raises(KeyboardInterrupt):
        bench.run("realtime")
    assert calls == [0, 1, 2, 3]
    assert bench.plant.commands == [[0.5, 0.0]] * 3 + [[0.0, -1.0]]
    last = read_trace(bench.path).rows[-1]
    assert (last["tick"], last["state"], last["end"]) == (3, State.STOP, STOPPED)
    assert np.isnan(last["observation"]).all()
    assert last["action"].tolist() == [0.0, -1.0]
    assert last["stamps"][[STAMPS.index("observed"), STAMPS.index("sent")]].tolist() == [0, 0]


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_the_panel_is_read_at_every_tick_and_a_stop_ends_the_episode(bench: Bench, mode: str) -> None:
    reads = []

    def read() -> Operator:
        reads.append(len(bench.plant.commands))
        return Operator(stop=len(reads) == 4)

    bench.loop.operator = read
    rows = bench.run(mode).rows
    assert reads == [0, 1, 2, 3]
    assert bench.plant.commands[3:] == [[0.0, -1.0]]
    assert rows["end"].tolist() == [GOES_ON] * 3 + [STOPPED]
    assert rows["cause"].tolist() == [Cause.FRESH] * 3 + [Cause.OPERATOR]


def test_an_episode_stopped_by_the_operator_is_not_scored(bench: Bench) -> None:
    bench.loop.operator = lambda: Operator(stop=len(bench.plant.commands) == 14)
    figures = summary(bench.run("realtime", episodes=2))
    assert (figures.score.episodes, figures.score.value) == (1, 1.0)
    assert figures.safe_episodes == 1


def test_a_dead_man_switch_that_stays_open_ends_the_episode_as_stopped(bench: Bench) -> None:
    bench.guard.safety.stop_ns, bench.plant.ends_at = 3 * T, 50
    bench.loop.operator = lambda: Operator(held=len(bench.plant.commands) < 2)
    rows = bench.run("realtime").rows
    assert rows["state"].tolist() == [State.RUN] * 2 + [State.SAFE] * 3 + [State.STOP]
    assert set(rows["cause"][2:]) == {Cause.DEAD_MAN}
    assert rows["end"][-1] == STOPPED


def test_in_lockstep_the_guards_time_does_not_advance_during_inference(bench: Bench) -> None:
    bench.client.delays_ns = dict.fromkeys(range(10), 900 * MS)
    rows = bench.run("lockstep").rows
    assert set(rows["state"]) == {State.RUN}
    assert bench.guard.counts.stale == 0


def test_ticks_overrun_by_the_simulation_count_as_silence(bench: Bench) -> None:
    bench.plant.takes_ns = {2: 105 * MS}
    bench.client.delays_ns = dict.fromkeys(range(3, 40), None)
    rows = bench.run("realtime").rows
    ran = rows[rows["kind"] != SKIPPED]
    assert ran["state"].tolist() == [State.RUN] * 3 + [State.SAFE] * 7
    assert set(ran["cause"][3:]) == {Cause.SILENCE}


@given(
    st.lists(st.none() | st.integers(0, 15 * MS), min_size=10, max_size=10),
    st.lists(st.integers(0, 45 * MS), min_size=10, max_size=10),
)
def test_for_any_delays_the_trace_has_a_row_for_every_due_tick(
    tmp_path_factory: pytest.TempPathFactory, delays: list[int | None], steps: list[int]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("robot") / "t.trace")
    bench.client.delays_ns = {}
    bench.plant.takes_ns = dict(enumerate(steps))
    each = iter(delays)
    receive = bench.client.receive

    def delayed(episode: int, seq: int, deadline_ns: int) -> Arrival | None:
        bench.client.delays_ns[seq] = next(each, MS)
        return receive(episode, seq, deadline_ns)

    bench.client.receive = delayed  # type: ignore[method-assign]
    trace = bench.run("realtime")
    rows, due = trace.rows, stamp(trace, "due")
    assert rows["tick"].tolist() == list(range(len(rows)))
    assert due == [due[0] + k * T for k in range(len(rows))]
    ran = rows[rows["kind"] != SKIPPED]
    assert len(ran) == len(bench.plant.commands) == bench.plant.tick
    np.testing.assert_array_equal(stages_ns(rows["stamps"]).sum(axis=1), totals_ns(rows["stamps"]))
    for row in ran:
        happened = [ns for ns in row["stamps"].tolist() if ns]
        assert happened == sorted(happened)
    assert (np.abs(rows["action"]) <= 1).all()


# ---- lockstep


def test_in_lockstep_the_simulation_waits_as_long_as_the_server_takes(bench: Bench) -> None:
    bench.client.delays_ns = {3: 4000 * MS}
    assert bench.kinds(bench.run("lockstep")) == [APPLIED] * 10


def test_in_lockstep_a_silent_server_ends_the_run_with_the_ticks_number(bench: Bench) -> None:
    bench.client.delays_ns = {3: None}
    with pytest.raises(UnreachableError) as raised:
        bench.run("lockstep")
    assert raised.value.where == "server, episode 0, tick 3"
    assert raised.value.got == "none within 5 s"
    assert len(read_trace(bench.path).rows) == 3


def test_in_lockstep_the_servers_error_is_reported(bench: Bench) -> None:
    bench.client.delays_ns = {0: None}
    bench.client.last_error = messages.Error(0, messages.NOT_FINITE, "speed")
    with pytest.raises(UnreachableError, match="speed"):
        bench.run("lockstep")


# ---- realtime


def test_ticks_are_due_on_the_grid_and_wake_on_time(bench: Bench) -> None:
    start_ns = bench.clock.ns
    trace = bench.run("realtime")
    assert stamp(trace, "due") == stamp(trace, "woke") == [start_ns + (k + 1) * T for k in range(10)]
    assert stamp(trace, "arrived") == [ns + MS // 2 for ns in stamp(trace, "sent")]
    assert [a - d for a, d in zip(stamp(trace, "stepped"), stamp(trace, "applied"), strict=True)] == [MS] * 10


def test_the_grid_restarts_with_each_episode(bench: Bench) -> None:
    trace = bench.run("realtime", episodes=2)
    due, stepped = stamp(trace, "due"), stamp(trace, "stepped")
    assert due[10] == stepped[9] + T
    assert trace.rows["tick"][10] == 0


def test_a_reply_after_the_deadline_is_a_held_tick_that_repeats_the_last_command(bench: Bench) -> None:
    bench.client.delays_ns = {4: DEADLINE + 1, 5: DEADLINE}
    trace = bench.run("realtime")
    assert bench.kinds(trace) == [APPLIED] * 4 + [HELD] + [APPLIED] * 5
    assert bench.plant.commands[4] == bench.plant.commands[3]
    assert trace.rows["state"][4] == State.HOLD
    assert stamp(trace, "applied")[4] - stamp(trace, "due")[4] == DEADLINE
    assert stamp(trace, "applied")[5] - stamp(trace, "due")[5] == DEADLINE


def test_a_held_tick_has_no_server_stamps_no_age_and_no_epoch(bench: Bench) -> None:
    bench.client.delays_ns = {4: None}
    trace = bench.run("realtime")
    for name in ("received", "started", "inferred", "replied", "arrived"):
        assert stamp(trace, name)[4] == 0
        assert all(stamp(trace, name)[:4])
    assert (trace.rows["age_ns"][4], trace.rows["epoch"][4]) == (0, 0)


def test_the_age_is_that_of_the_observation_behind_the_command(bench: Bench) -> None:
    trace = bench.run("realtime")
    assert set(trace.rows["age_ns"]) == {MS // 2}


def test_an_overrun_of_the_simulation_skips_and_records_ticks_without_replaying_them(bench: Bench) -> None:
    bench.plant.takes_ns = {2: 34 * MS}
    trace = bench.run("realtime")
    assert bench.kinds(trace) == [APPLIED] * 3 + [SKIPPED] * 2 + [APPLIED] * 7
    np.testing.assert_array_equal(trace.rows["tick"], range(12))
    due = stamp(trace, "due")
    assert due == [due[0] + k * T for k in range(12)]
    assert stamp(trace, "woke")[3:5] == [0, 0]
    assert stamp(trace, "woke")[5] - due[5] == 34 * MS + MS // 2 - 3 * T
    assert summary(trace).misses == 2
    np.testing.assert_array_equal(trace.rows["observation"][5:, 0], range(3, 10))


def test_a_silent_server_leads_to_hold_then_safe_with_the_safe_action(bench: Bench) -> None:
    bench.plant.ends_at = 20
    bench.client.delays_ns = dict.fromkeys(range(3, 40), None)
    trace = bench.run("realtime")
    assert trace.rows["state"].tolist() == [State.RUN] * 3 + [State.HOLD] * 9 + [State.SAFE] * 8
    assert bench.plant.commands[3:12] == [bench.plant.commands[2]] * 9
    assert bench.plant.commands[12:] == [[0.0, -1.0]] * 8


def test_safe_lasts_until_the_next_episode_even_if_answers_return(bench: Bench) -> None:
    bench.plant.ends_at = 15
    bench.client.delays_ns = dict.fromkeys(range(10), None)
    trace = bench.run("realtime", episodes=2)
    assert trace.rows["state"][:15].tolist() == [State.HOLD] * 9 + [State.SAFE] * 6
    assert bench.kinds(trace)[:15] == [HELD] * 15
    assert trace.rows["state"][15] == State.HOLD


# ---- chunks

H = 8


def answers_chunks(bench: Bench, execute: int, ahead: int = 0, blend: float | None = None) -> None:
    """Answer with chunks: action i of the chunk of tick q is (0.01 (q + i), 0.1 q)."""
    bench.loop.chunks = Chunks(Chunking(H, execute, ahead, blend))

    def arrival(episode: int, seq: int, sent_ns: int, arrived_ns: int) -> Arrival:
        plain = FakeClient.arrival(bench.client, episode, seq, sent_ns, arrived_ns)
        values = np.array([[0.01 * (seq + i), 0.1 * seq] for i in range(H)], np.float32)
        return plain._replace(values=values)

    bench.client.arrival = arrival  # type: ignore[method-assign]


def chunk_ticks(trace: Trace) -> list[int]:
    """Return the tick of the chunk that each tick played; -1 for none."""
    return [int(q) for q in np.nan_to_num(np.round(trace.rows["offered"][:, 1] / 0.1), nan=-1)]


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_a_chunk_is_played_and_only_its_first_tick_sends_a_request(bench: Bench, mode: str) -> None:
    answers_chunks(bench, execute=4)
    trace = bench.run(mode)
    assert [seq for _, seq, _ in bench.client.sent] == [0, 4, 8]
    assert bench.kinds(trace) == [APPLIED] * 10
    np.testing.assert_allclose(trace.rows["action"][:, 0], 0.01 * np.arange(10), rtol=1e-6)
    assert chunk_ticks(trace) == [0] * 4 + [4] * 4 + [8] * 2
    assert [bool(ns) for ns in stamp(trace, "sent")] == [tick % 4 == 0 for tick in range(10)]
    assert [bool(ns) for ns in stamp(trace, "arrived")] == [tick % 4 == 0 for tick in range(10)]


def test_the_action_age_refers_to_the_chunks_observation(bench: Bench) -> None:
    answers_chunks(bench, execute=4)
    trace = bench.run("realtime")
    sent, applied = stamp(trace, "sent"), stamp(trace, "applied")
    decided = [ns - age for ns, age in zip(applied, trace.rows["age_ns"].tolist(), strict=True)]
    assert decided == [sent[tick // 4 * 4] for tick in range(10)]


def test_in_lockstep_with_ahead_two_a_chunk_begins_at_its_third_action(bench: Bench) -> None:
    answers_chunks(bench, execute=4, ahead=2)
    trace = bench.run("lockstep")
    assert chunk_ticks(trace) == [0] * 6 + [4] * 4
    np.testing.assert_allclose(trace.rows["action"][:, 0], 0.01 * np.arange(10), rtol=1e-6)


def test_a_tick_with_an_action_does_not_wait_and_a_new_chunk_is_used_on_arrival(bench: Bench) -> None:
    answers_chunks(bench, execute=4, ahead=2)
    due: dict[int, tuple[Arrival, int]] = {}

    def send(episode: int, seq: int, values: bytes) -> int:
        sent_ns = FakeClient.send(bench.client, episode, seq, values)
        due[seq] = bench.client.arrival(episode, seq, sent_ns, sent_ns + 15 * MS), sent_ns + 15 * MS
        return sent_ns

    def newest(episode: int) -> Arrival | None:
        come = [seq for seq, (_, at_ns) in due.items() if at_ns <= bench.clock.ns]
        return due.pop(max(come))[0] if come else None

    def receive(episode: int, seq: int, deadline_ns: int) -> Arrival | None:
        there = newest(episode)
        if there is None:
            bench.clock.ns = max(bench.clock.ns, deadline_ns)
        return there or newest(episode)

    bench.client.send, bench.client.newest = send, newest  # type: ignore[method-assign]
    bench.client.receive = receive  # type: ignore[method-assign]
    trace = bench.run("realtime")
    assert bench.kinds(trace) == [HELD] + [APPLIED] * 9  # only the first chunk is waited for
    assert chunk_ticks(trace) == [-1] + [0] * 5 + [4] * 4
    assert [a - d for a, d in zip(stamp(trace, "applied"), stamp(trace, "due"), strict=True)][2:] == [0] * 8
    np.testing.assert_allclose(trace.rows["action"][1:, 0], 0.01 * np.arange(1, 10), rtol=1e-6)


def test_a_lost_chunk_is_requested_again_at_the_next_tick(bench: Bench) -> None:
    answers_chunks(bench, execute=4)
    bench.client.delays_ns = {4: None}
    trace = bench.run("realtime")
    assert [seq for _, seq, _ in bench.client.sent] == [0, 4, 5, 9]
    assert bench.kinds(trace) == [APPLIED] * 4 + [HELD] + [APPLIED] * 5


def test_jitter_does_not_make_a_chunks_action_stale(bench: Bench) -> None:
    answers_chunks(bench, execute=8)
    bench.plant.reset_takes_ns = 0
    send = bench.client.send

    def late(episode: int, seq: int, values: bytes) -> int:
        bench.clock.ns += 3 * MS
        return send(episode, seq, values)

    bench.client.send = late  # type: ignore[method-assign]
    trace = bench.run("realtime")
    assert bench.kinds(trace) == [APPLIED] * 10
    assert bench.guard.counts.stale == 0


def test_overlapping_chunks_are_blended(bench: Bench) -> None:
    answers_chunks(bench, execute=1, blend=0.0)
    trace = bench.run("lockstep")
    np.testing.assert_allclose(trace.rows["action"][:, 0], 0.01 * np.arange(10), rtol=1e-5)
    expected = [np.mean(range(max(0, tick - H + 1), tick + 1)) * 0.1 for tick in range(10)]
    np.testing.assert_allclose(trace.rows["action"][:, 1], expected, rtol=1e-5)


def test_after_safe_no_action_of_an_old_chunk_is_played(bench: Bench) -> None:
    answers_chunks(bench, execute=8)
    bench.loop.operator = lambda: Operator(
        held=len(bench.plant.commands) != 2, rearm=len(bench.plant.commands) == 4
    )
    trace = bench.run("realtime")
    assert trace.rows["state"].tolist()[:5] == [State.RUN] * 2 + [State.SAFE] * 2 + [State.RUN]
    assert chunk_ticks(trace)[:6] == [0, 0, 0, 3, 4, 4]


# ---- stream


def test_in_a_stream_each_observation_is_sent_and_the_newest_action_is_applied(bench: Bench) -> None:
    def send(episode: int, seq: int, values: bytes) -> int:
        sent_ns = FakeClient.send(bench.client, episode, seq, values)
        if seq:
            bench.client.waiting = [bench.client.arrival(episode, seq - 1, sent_ns - T, sent_ns - MS)]
        return sent_ns

    bench.client.send = send  # type: ignore[method-assign]
    trace = bench.run("stream")
    assert len(bench.client.sent) == 10
    assert bench.kinds(trace) == [HELD] + [APPLIED] * 9
    np.testing.assert_allclose(trace.rows["action"][1:, 0], 0.01 * np.arange(9), rtol=1e-6)
    assert trace.rows["age_ns"].tolist() == [0] + [T] * 9
    assert stamp(trace, "received") == [0] * 10  # it belongs to another tick's observation
    assert set(trace.rows["epoch"][1:]) == {3}


def test_in_a_stream_an_action_from_two_periods_ago_is_not_applied(bench: Bench) -> None:
    def send(episode: int, seq: int, values: bytes) -> int:
        sent_ns = FakeClient.send(bench.client, episode, seq, values)
        if seq == 5:
            bench.client.waiting = [bench.client.arrival(episode, 3, sent_ns - 2 * T, sent_ns - MS)]
        return sent_ns

    bench.client.send = send  # type: ignore[method-assign]
    rows = bench.run("stream").rows
    assert rows["cause"][:9].tolist() == [Cause.MISSING] * 5 + [Cause.STALE] + [Cause.MISSING] * 3
    assert bench.guard.counts.stale == 1


def test_in_a_stream_without_actions_the_guard_decides(bench: Bench) -> None:
    trace = bench.run("stream")
    assert trace.rows["state"].tolist() == [State.HOLD] * 9 + [State.SAFE]
    assert bench.plant.commands == [[0.0, -1.0]] * 10


# ---- pre-touch


def test_pre_touch_runs_end_before_each_tick_is_due(bench: Bench) -> None:
    trace = bench.run("realtime")
    touched = np.array(bench.client.touched_ns).reshape(10, 2)
    ahead = np.array(stamp(trace, "due"))[:, None] - touched
    assert (ahead > 100_000).all()
    assert (ahead < MS).all()


def test_after_an_overrun_there_is_no_pre_touch(bench: Bench) -> None:
    bench.plant.takes_ns = dict.fromkeys(range(10), 12 * MS)
    bench.run("realtime")
    assert len(bench.client.touched_ns) == 2  # only before the first tick


def test_pre_touch_runs_change_neither_the_guard_nor_the_chunks(tmp_path: Path) -> None:
    runs = []
    for name, hot_call_ns in (("with", 10_000), ("without", 10**9)):
        bench = Bench(tmp_path / name, hot_call_ns)
        bench.client.delays_ns = {2: None, 5: None}
        bench.client.act = lambda seq: [2.0 if seq == 7 else 0.1 * seq, 0.0]
        trace = bench.run("realtime")
        runs.append((trace.rows.tobytes(), vars(bench.guard.counts)))
        assert bool(bench.client.touched_ns) == (name == "with")
    assert runs[0] == runs[1]
