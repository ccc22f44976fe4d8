"""The server, turn by turn, on sockets of one process and a clock that jumps."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from odeploy_runtime.hot_swap.divergence import Divergence
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import bind_router
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, Peer, floats, hello, manifest, served

ENDPOINT = "inproc://server"
MS = 1_000_000
T = 10 * MS  # of a robot at 100 Hz
VALUES = floats(1.0, 2.0, 3.0)


class World:
    """One server and the robots that talk to it."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        clock: FakeClock,
        policy: FakePolicy | None = None,
        pre_touch: bool = False,
        **options: Any,
    ) -> None:
        self.context, self.clock = context, clock
        self.policy = FakePolicy() if policy is None else policy
        self.peers: list[Peer] = []
        self.socket = bind_router(context, ENDPOINT)
        self.counters = Counters(SERVER)
        self.slot = PolicySlot(self.policy)
        given = ServerOptions(pre_touch=pre_touch, **options)
        self.server = served(self.socket, self.slot, clock, given, self.counters)

    def peer(self) -> Peer:
        self.peers.append(Peer(self.context, ENDPOINT))
        return self.peers[-1]

    def close(self) -> None:
        for socket in (self.socket, *(peer.socket for peer in self.peers)):
            socket.close()

    def ask(self, peer: Peer, message: messages.Message | bytes) -> messages.Message | None:
        """Says something, gives the server one turn, and hears what comes back."""
        peer.say(message)
        self.server.turn()
        return peer.hear()

    def welcome(self, peer: Peer, **changes: Any) -> messages.Ready:
        ready = self.ask(peer, hello(**changes))
        assert isinstance(ready, messages.Ready)
        return ready

    def observe(
        self, peer: Peer, ready: messages.Ready, seq: int = 0, episode: int = 0, values: bytes = VALUES
    ) -> messages.Message | None:
        return self.ask(peer, messages.Observation(ready.session, episode, seq, self.clock.ns, values))

    def let_pass(self, ns: int) -> None:
        """Gives turns until that time has passed; no message may wait."""
        until = self.clock.ns + ns
        while self.clock.ns < until:
            self.server.turn()


@pytest.fixture
def world(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock)
    yield made
    made.close()


def refusal(answer: messages.Message | None) -> str:
    assert isinstance(answer, messages.Refused)
    assert "\n" not in answer.reason
    return answer.reason


# ---- the handshake


def test_a_robot_that_fits_is_told_its_session_and_the_policy(world: World, logged: list[str]) -> None:
    ready = world.welcome(world.peer())
    assert ready._replace(session=0) == messages.Ready(messages.PROTOCOL, 0, "teacher", "f" * 64, 100.0, 1)
    assert logged == ["'robot' connected: maze-medium, 100 Hz, request"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"observation": ["y", "x", "speed"]}, "observation, place 0: expected 'x', got 'y' (same names"),
        ({"action": ["motor_y", "motor_x"]}, "action, place 0: expected 'motor_x', got 'motor_y' (same names"),
        ({"observation": ["x", "y", "pace"]}, "missing speed; unknown pace"),
        ({"observation": ["x", "y"]}, "missing speed"),
        ({"action": []}, "missing motor_x, motor_y"),
        ({"action": ["motor_x", "motor_y", "motor_z"]}, "unknown motor_z"),
        ({"protocol": 2}, "expected protocol 1, got 2"),
        ({"protocol": 0}, "expected protocol 1, got 0"),
        ({"rate_hz": 0.0}, "got 0; ask for another rate"),
        ({"rate_hz": -100.0}, "got -100;"),
        ({"rate_hz": 10_001.0}, "got 10001;"),
        ({"rate_hz": float("nan")}, "got nan;"),
        ({"rate_hz": float("inf")}, "got inf;"),
        ({"rate_hz": 5e-324}, "ask for another rate"),
        ({"rate_hz": 2**64 - 1}, "ask for another rate"),
        ({"mode": "push"}, "expected mode request or stream, got 'push'"),
        ({"observation": ["x"] * 1025}, "expected at most 1024 signals, got 1025"),
    ],
)
def test_a_robot_that_does_not_fit_is_refused_with_the_reason(
    world: World, changes: dict[str, Any], reason: str, logged: list[str]
) -> None:
    assert reason in refusal(world.ask(world.peer(), hello(**changes)))
    assert logged[0].startswith("refused 'robot': ")


@pytest.mark.parametrize("rate_hz", [1.0, 1, 10_000.0])
@pytest.mark.parametrize("mode", ["request", "stream"])
def test_rates_at_the_bounds_are_served(world: World, rate_hz: float, mode: str) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer, rate_hz=rate_hz, mode=mode))
    world.server.turn()


def test_a_refused_robot_may_mend_itself_and_come_again(world: World) -> None:
    peer = world.peer()
    refusal(world.ask(peer, hello(protocol=9)))
    world.welcome(peer)


def test_a_second_robot_of_the_same_name_is_refused_and_the_first_goes_on(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    assert "'robot' is in use" in refusal(world.ask(second, hello()))
    assert isinstance(world.observe(first, ready), messages.Action)
    world.welcome(second, robot="other")


def test_a_name_is_free_after_one_second_of_silence_and_not_before(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    world.clock.ns += 1000 * MS - 1
    refusal(world.ask(second, hello()))
    world.clock.ns += 1
    world.welcome(second)
    answer = world.observe(first, ready)
    assert answer == messages.Error(0, messages.UNKNOWN_SESSION, "")


def test_an_observation_keeps_a_session_alive(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    for seq in range(4):
        world.clock.ns += 900 * MS
        assert isinstance(world.observe(first, ready, seq), messages.Action)
    refusal(world.ask(second, hello()))


def test_a_silent_session_is_freed_without_anybody_asking(world: World, logged: list[str]) -> None:
    ready = world.welcome(peer := world.peer())
    world.observe(peer, ready)
    world.let_pass(1300 * MS)
    assert logged[-1] == "'robot' freed: silent"
    assert isinstance(world.observe(peer, ready), messages.Error)


def test_a_robot_has_longer_to_begin(world: World, logged: list[str]) -> None:
    world.welcome(world.peer())
    world.let_pass(4900 * MS)
    assert logged[-1] != "'robot' freed: silent"
    world.let_pass(500 * MS)
    assert logged[-1] == "'robot' freed: silent"


def test_a_silent_session_is_freed_although_another_robot_keeps_the_server_busy(
    world: World, logged: list[str]
) -> None:
    world.observe(peer := world.peer(), world.welcome(peer, robot="silent"))
    busy = world.peer()
    ready = world.welcome(busy, robot="busy")
    for seq in range(150):
        world.clock.ns += T
        world.observe(busy, ready, seq)
        if seq % 10 == 0:
            world.server.turn()  # the one at which there is no message
    assert "'silent' freed: silent" in logged
    assert "'busy' freed: silent" not in logged


def test_a_stream_whose_robot_fell_silent_is_ended(world: World, logged: list[str]) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer, mode="stream"))
    world.let_pass(1500 * MS)
    assert logged[-1] == "'robot' freed: silent"
    inferred = world.policy.inferred
    world.let_pass(500 * MS)
    assert world.policy.inferred == inferred


def test_a_goodbye_frees_the_name_at_once(world: World, logged: list[str]) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    assert world.ask(peer, messages.Bye(ready.session)) is None
    world.welcome(world.peer())
    assert logged[1] == "'robot' freed: said goodbye"


def test_a_goodbye_of_a_stranger_is_nothing(world: World) -> None:
    assert world.ask(world.peer(), messages.Bye(5)) is None


def test_a_second_hello_on_one_connection_begins_a_new_session(world: World) -> None:
    peer = world.peer()
    old, new = world.welcome(peer), world.welcome(peer)
    assert old.session != new.session
    assert world.observe(peer, old) == messages.Error(0, messages.UNKNOWN_SESSION, "")
    assert isinstance(world.observe(peer, new), messages.Action)


# ---- observations


def test_an_observation_is_answered_under_its_own_number_with_ordered_stamps(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = world.observe(peer, ready, seq=41, episode=3)
    assert isinstance(answer, messages.Action)
    assert (answer.session, answer.episode, answer.seq) == (ready.session, 3, 41)
    assert (answer.policy_epoch, answer.status) == (1, messages.OK)
    assert answer.received_ns <= answer.started_ns <= answer.inferred_ns <= answer.replied_ns


def test_the_action_is_the_policys_for_that_observation_and_noise(world: World) -> None:
    peer = world.peer()
    answer = world.observe(peer, world.welcome(peer, seed=7), seq=5, episode=2)
    assert isinstance(answer, messages.Action)
    noise = NoiseSource(world.policy.manifest.noise, 7).draw(2, 5).reshape(-1)
    assert answer.values == floats(1.0 + noise[0], 2.0 + noise[1])


def test_noise_is_the_same_whenever_a_tick_is_asked_again_and_by_whom(world: World) -> None:
    peer, other = world.peer(), world.peer()
    ready = world.welcome(peer)
    first = [world.observe(peer, ready, seq) for seq in (0, 1, 2)]
    again = [world.observe(peer, ready, seq) for seq in (2, 0, 1)]
    theirs = world.welcome(other, robot="other")
    elsewhere = [world.observe(other, theirs, seq) for seq in (0, 1, 2)]

    def values(answers: list[messages.Message | None]) -> list[bytes]:
        assert all(isinstance(a, messages.Action) for a in answers)
        return [a.values for a in answers if isinstance(a, messages.Action)]

    assert len(set(values(first))) == 3
    assert values(again) == [values(first)[i] for i in (2, 0, 1)]
    assert values(elsewhere) == values(first)


@pytest.mark.parametrize("changes", [{"seed": 8}, {"episode": 1}, {"seq": 1}])
def test_seed_episode_and_number_each_change_the_noise(world: World, changes: dict[str, int]) -> None:
    drawn: set[bytes] = set()
    first = {"seed": 7, "episode": 0, "seq": 0}
    for seed, episode, seq in (first.values(), (first | changes).values()):
        peer = world.peer()
        answer = world.observe(peer, world.welcome(peer, seed=seed, robot=str(len(drawn))), seq, episode)
        assert isinstance(answer, messages.Action)
        drawn.add(answer.values)
    assert len(drawn) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("place", "name"), [(0, "x"), (1, "y"), (2, "speed")])
def test_an_observation_that_is_not_finite_is_an_error_that_names_the_signal(
    world: World, bad: float, place: int, name: str
) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    values = [1.0, 2.0, 3.0]
    values[place] = bad
    assert world.observe(peer, ready, 9, values=floats(*values)) == messages.Error(9, messages.NOT_FINITE, name)
    assert world.policy.inferred == 0
    assert isinstance(world.observe(peer, ready, 10), messages.Action)


def test_huge_but_finite_observations_are_served(world: World) -> None:
    peer = world.peer()
    answer = world.observe(peer, world.welcome(peer), values=floats(3e38, -3e38, 3e38))
    assert isinstance(answer, messages.Action)


@pytest.mark.parametrize("values", [b"", bytes(11), bytes(8), bytes(16), bytes(60_000)])
def test_an_observation_of_another_length_is_an_error_that_says_the_right_one(world: World, values: bytes) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    assert world.observe(peer, ready, 4, values=values) == messages.Error(4, messages.WRONG_LENGTH, "12 bytes")
    assert isinstance(world.observe(peer, ready, 5), messages.Action)


def test_an_observation_without_a_session_or_with_a_foreign_one_is_an_error(world: World) -> None:
    known, stranger = world.peer(), world.peer()
    ready = world.welcome(known)
    assert world.observe(stranger, ready, 3) == messages.Error(3, messages.UNKNOWN_SESSION, "")
    assert world.observe(known, ready._replace(session=ready.session + 1), 3) == messages.Error(
        3, messages.UNKNOWN_SESSION, ""
    )
    assert isinstance(world.observe(known, ready, 3), messages.Action)


@pytest.mark.parametrize(("place", "name"), [(0, "motor_x"), (1, "motor_y")])
def test_an_action_that_is_not_finite_never_leaves_the_server(world: World, place: int, name: str) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = np.zeros((1, 2), np.float32)
    answer[0, place] = np.nan
    world.policy.answer = answer
    assert world.observe(peer, ready, 6) == messages.Error(6, messages.INFERENCE_FAILED, name)


# ---- what no robot of ours would say


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b"\xc1",
        b"\x90",
        b"\x91" * 2000,
        bytes(1000),
        msgpack.packb([4, 1, 2, 3]),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_garbage_is_answered_as_malformed_and_the_connection_is_kept(world: World, frame: bytes) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = world.ask(peer, frame)
    assert isinstance(answer, messages.Error)
    assert (answer.seq, answer.code) == (0, messages.MALFORMED)
    assert "Traceback" not in answer.signal
    assert isinstance(world.observe(peer, ready), messages.Action)


def test_more_than_one_frame_is_malformed_and_the_connection_is_kept(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    peer.socket.send_multipart([messages.pack(messages.Bye(ready.session)), b"more"])
    world.server.turn()
    assert peer.hear() == messages.Error(0, messages.MALFORMED, "more than one frame")
    assert isinstance(world.observe(peer, ready), messages.Action)


@pytest.mark.parametrize(
    "message",
    [
        messages.Ready(1, 2, "p", "f", 1.0, 1),
        messages.Refused("no"),
        messages.Error(1, 2, ""),
        messages.Action(1, 2, 3, 4, 5, 6, 7, 8, 9, b""),
    ],
)
def test_a_servers_message_sent_to_a_server_is_malformed(world: World, message: messages.Message) -> None:
    answer = world.ask(world.peer(), message)
    assert answer == messages.Error(0, messages.MALFORMED, f"{type(message).__name__} is a server's message")


def test_a_robot_that_leaves_without_reading_does_not_stop_the_server(world: World) -> None:
    gone, stays = world.peer(), world.peer()
    ready, theirs = world.welcome(gone), world.welcome(stays, robot="other")
    gone.say(messages.Observation(ready.session, 0, 0, 0, VALUES))
    gone.socket.close()
    world.server.turn()
    assert isinstance(world.observe(stays, theirs), messages.Action)


# ---- stream mode


def streaming(world: World) -> tuple[Peer, messages.Ready, int]:
    """A stream with its first observation: the robot, its session and when that observation came."""
    peer = world.peer()
    ready = world.welcome(peer, mode="stream")
    at_ns = world.clock.ns
    assert world.observe(peer, ready, 0) is None
    return peer, ready, at_ns


def stamps(peer: Peer) -> list[tuple[int, int]]:
    """(number, when it was inferred) of all actions that have come."""
    heard = []
    while (message := peer.hear()) is not None:
        assert isinstance(message, messages.Action)
        heard.append((message.seq, message.started_ns))
    return heard


def test_a_stream_is_answered_on_the_servers_own_grid_half_a_period_beside_the_robots(world: World) -> None:
    peer, _, at_ns = streaming(world)
    for _ in range(3):
        world.server.turn()
    assert stamps(peer) == [(0, at_ns + T // 2 + k * T) for k in range(3)]


def test_a_stream_is_answered_from_the_newest_observation_alone(world: World) -> None:
    peer, ready, at_ns = streaming(world)
    for seq in (1, 2, 3):
        assert world.observe(peer, ready, seq) is None
    world.server.turn()
    assert stamps(peer) == [(3, at_ns + T // 2)]
    assert world.policy.inferred == 1


def test_the_age_of_the_observation_can_be_read_from_a_streamed_action(world: World) -> None:
    peer, _, at_ns = streaming(world)
    world.server.turn()
    world.server.turn()
    peer.hear()
    answer = peer.hear()
    assert isinstance(answer, messages.Action)
    assert (answer.received_ns, answer.started_ns - answer.received_ns) == (at_ns, T // 2 + T)


def test_an_overrun_stream_skips_to_its_grid_and_never_bursts(world: World) -> None:
    peer, _, at_ns = streaming(world)
    world.server.turn()
    world.clock.ns = at_ns + T // 2 + 7 * T + 3 * MS
    world.server.turn()
    world.server.turn()
    assert stamps(peer)[1:] == [(0, at_ns + T // 2 + 7 * T + 3 * MS), (0, at_ns + T // 2 + 8 * T)]


def test_a_bad_observation_in_a_stream_is_an_error_at_the_tick(world: World) -> None:
    peer, ready, _ = streaming(world)
    world.observe(peer, ready, 1, values=floats(1, float("nan"), 0))
    world.server.turn()
    assert peer.hear() == messages.Error(1, messages.NOT_FINITE, "y")


# ---- pre-touch


@pytest.fixture
def touching(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock, pre_touch=True)
    yield made
    made.close()


def test_the_server_rehearses_before_the_next_observation_is_expected(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    at_ns = touching.clock.ns
    touching.observe(peer, ready, 0)
    touching.server.turn()
    assert touching.policy.inferred == 1 + 2
    assert at_ns + T - 500_000 < touching.clock.ns < at_ns + T - 100_000
    assert peer.hear() is None  # a rehearsal is not sent


def test_one_rehearsal_is_enough_until_the_observation_comes(touching: World) -> None:
    peer = touching.peer()
    touching.observe(peer, touching.welcome(peer))
    touching.let_pass(900 * MS)
    assert touching.policy.inferred == 3


def test_no_rehearsal_where_a_message_already_waits(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready, 0)
    touching.clock.ns += T
    assert isinstance(touching.observe(peer, ready, 1), messages.Action)
    assert touching.policy.inferred == 2


def test_no_rehearsal_where_the_period_leaves_no_room(touching: World) -> None:
    peer = touching.peer()
    touching.observe(peer, touching.welcome(peer, rate_hz=5000.0))
    touching.let_pass(600 * MS)
    assert touching.policy.inferred == 1


def test_no_rehearsal_without_pre_touch(world: World) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer))
    world.let_pass(600 * MS)
    assert world.policy.inferred == 1


def test_no_rehearsal_for_a_robot_that_has_said_goodbye(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready)
    touching.ask(peer, messages.Bye(ready.session))
    touching.let_pass(600 * MS)
    assert touching.policy.inferred == 1


def test_a_rehearsal_of_a_bad_observation_is_harmless(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready, 0, values=floats(float("nan"), 0, 0))
    touching.server.turn()
    assert isinstance(touching.observe(peer, ready, 1), messages.Action)


@pytest.mark.parametrize("sent_ns", [0, 2**63 - 1])
def test_a_robot_whose_clock_lies_gets_its_answers_and_delays_only_its_own_rehearsals(
    touching: World, sent_ns: int
) -> None:
    liar = touching.peer()
    ready = touching.welcome(liar)
    for seq in range(5):
        answer = touching.ask(liar, messages.Observation(ready.session, 0, seq, sent_ns, VALUES))
        assert isinstance(answer, messages.Action)
        touching.server.turn()


# ---- another policy


def exchange(world: World, policy: FakePolicy) -> None:
    """Offers it, as the thread of the control socket does, and gives the loop its turn."""
    offering = threading.Thread(target=world.slot.offer, args=(policy,))
    offering.start()
    while world.slot._offered is None:
        pass
    world.server.turn()
    offering.join()


def test_another_policy_answers_from_the_next_tick_on_under_its_own_epoch(world: World) -> None:
    peer, other = world.peer(), FakePolicy(fingerprint="b" * 64)
    other.answer = np.array([[7, 8]], np.float32)
    ready = world.welcome(peer)
    before = world.observe(peer, ready, 0)
    exchange(world, other)
    after = world.observe(peer, ready, 1)
    assert isinstance(before, messages.Action)
    assert isinstance(after, messages.Action)
    assert (before.policy_epoch, after.policy_epoch, after.values) == (1, 2, floats(7, 8))
    health = world.ask(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.policy_epoch, health.fingerprint) == (2, "b" * 64)
    assert health.fingerprints == ["f" * 64, "b" * 64]
    assert world.counters["policy_epoch"] == 2


def test_a_policy_that_wants_other_noise_gets_the_draw_of_the_ticks_own_number(world: World) -> None:
    peer, wanted = world.peer(), Noise("normal", (1, 1, 5))
    ready = world.welcome(peer, seed=7)
    world.observe(peer, ready, 0)
    exchange(world, FakePolicy(manifest(noise=wanted, golden=())))
    answer = world.observe(peer, ready, 1)
    noise = NoiseSource(wanted, 7).draw(0, 1).reshape(-1)
    assert isinstance(answer, messages.Action)
    assert answer.values == floats(1.0 + noise[0], 2.0 + noise[1])


def test_a_robot_that_comes_after_an_exchange_is_told_the_policy_that_answers_it(world: World) -> None:
    exchange(world, FakePolicy(fingerprint="b" * 64))
    assert world.welcome(world.peer()).fingerprint == "b" * 64


class FakeShadow:
    """Takes every second tick."""

    manifest, fingerprint = manifest(), "c" * 64

    def __init__(self) -> None:
        self.fed: list[tuple[int, messages.Observation, messages.Action]] = []

    def feed(self, seed: int, message: messages.Observation, action: messages.Action) -> bool:
        self.fed.append((seed, message, action))
        return len(self.fed) % 2 == 1

    def divergence(self) -> Divergence:
        return Divergence(9, np.array([0.5, 0.25], np.float32), np.array([1, 2], np.float32))


def test_a_shadow_sees_what_was_answered_and_nothing_else_and_what_it_drops_is_counted(world: World) -> None:
    peer, shadow = world.peer(), FakeShadow()
    ready = world.welcome(peer, seed=7)
    world.slot.attach(shadow)  # type: ignore[arg-type]
    answers = [world.observe(peer, ready, seq) for seq in range(3)]
    world.observe(peer, ready, 3, values=floats(float("nan"), 0, 0))
    assert [(seed, message.seq) for seed, message, _ in shadow.fed] == [(7, 0), (7, 1), (7, 2)]
    assert [action for *_, action in shadow.fed] == answers
    assert (world.counters["shadow:fed"], world.counters["shadow:dropped"]) == (2, 1)
    health = world.ask(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.shadow, health.shadow_compared, health.shadow_dropped) == ("c" * 64, 9, 1)
    assert (health.shadow_mean, health.shadow_max) == (floats(0.5, 0.25), floats(1, 2))


# ---- who asks too often, and what is counted


@pytest.fixture
def capped(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock, max_rate_hz=100.0)
    yield made
    made.close()


def test_of_a_flood_so_much_is_answered_as_the_cap_allows_and_the_rest_is_dropped(capped: World) -> None:
    peer = capped.peer()
    ready = capped.welcome(peer)
    answers = [capped.observe(peer, ready, seq) for seq in range(200)]
    assert [answer is not None for answer in answers] == [True] * 63 + [False] * 137
    capped.clock.ns += 100 * MS
    assert sum(capped.observe(peer, ready, seq) is not None for seq in range(50)) == 10
    assert capped.counters["dropped:rate_cap"] == 137 + 40


def test_one_robots_flood_takes_nothing_from_anothers_allowance(capped: World) -> None:
    flooder, robot = capped.peer(), capped.peer()
    ready = capped.welcome(robot)
    for _ in range(300):
        capped.ask(flooder, b"garbage")
    assert isinstance(capped.observe(robot, ready), messages.Action)


def test_waiting_messages_of_two_robots_are_answered_in_turn(world: World) -> None:
    flooder, robot = world.peer(), world.peer()
    theirs, ready = world.welcome(flooder, robot="flooder"), world.welcome(robot)
    for seq in range(8):
        flooder.say(messages.Observation(theirs.session, 0, seq, 0, VALUES))
    robot.say(messages.Observation(ready.session, 0, 0, 0, VALUES))
    for _ in range(3):
        world.server.turn()
    assert isinstance(robot.hear(), messages.Action)


def test_a_stream_has_its_ticks_although_messages_never_cease(world: World) -> None:
    peer, _, at_ns = streaming(world)
    flooder = world.peer()
    for _ in range(40):
        world.clock.ns += T // 2
        world.ask(flooder, b"garbage")
    assert stamps(peer) == [(0, at_ns + T // 2 + k * T) for k in range(20)]


def test_the_silent_are_freed_although_messages_never_cease(world: World, logged: list[str]) -> None:
    world.observe(peer := world.peer(), world.welcome(peer))
    flooder = world.peer()
    for _ in range(150):
        world.clock.ns += 10 * MS
        world.ask(flooder, b"garbage")
    assert logged[-1] == "'robot' freed: silent"


def test_a_server_that_was_stopped_itself_frees_nobody_for_their_silence(world: World) -> None:
    first, second = world.peer(), world.peer()
    one, two = world.welcome(first), world.welcome(second, robot="other")
    world.clock.ns += 5000 * MS
    assert isinstance(world.observe(first, one), messages.Action)
    assert isinstance(world.observe(second, two), messages.Action)


def test_each_answer_error_and_refusal_is_counted(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    world.observe(peer, ready)
    world.observe(peer, ready, values=floats(float("nan"), 0, 0))
    world.observe(peer, ready, values=b"")
    world.observe(peer, ready._replace(session=0))
    world.ask(peer, b"garbage")
    misfits: list[dict[str, Any]] = [{}, {"protocol": 2}, {"rate_hz": 0.0}, {"mode": "push"}, {"action": []}]
    for changes in misfits:
        refusal(world.ask(world.peer(), hello(**changes)))
    world.ask(peer, messages.Bye(ready.session))
    counted = {name: world.counters[name] for name in SERVER.counters if world.counters[name]}
    assert counted.pop("inference_ns", 0) == 0  # on a clock that stands still
    assert counted == {
        "messages": 12,
        "actions": 1,
        "errors:unknown_session": 1,
        "errors:wrong_length": 1,
        "errors:not_finite": 1,
        "errors:malformed": 1,
        "refusals:protocol": 1,
        "refusals:rate": 1,
        "refusals:mode": 1,
        "refusals:signals": 1,
        "refusals:name_in_use": 1,
        "sessions_opened": 1,
        "sessions_ended:goodbye": 1,
    }


def test_a_stranger_may_ask_how_the_server_is(world: World) -> None:
    robot = world.peer()
    world.observe(robot, world.welcome(robot))
    world.ask(robot, b"garbage")
    refusal(world.ask(world.peer(), hello(protocol=9)))
    world.clock.ns += 7 * MS
    health = world.ask(world.peer(), messages.Ping(messages.PROTOCOL))
    assert health == messages.Health(
        messages.PROTOCOL,
        ready=1,
        policy="teacher",
        fingerprint="f" * 64,
        policy_epoch=1,
        up_ns=7 * MS,
        sessions=1,
        actions=1,
        errors=1,
        dropped=0,
        refusals=1,
        fingerprints=["f" * 64],
        signals=["motor_x", "motor_y"],
    )


def test_a_server_that_is_full_refuses_another_robot_and_says_that_it_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odeploy_runtime.server.sessions._MAX_SESSIONS", 1)
    robot, other = world.peer(), world.peer()
    world.welcome(robot)
    assert "expected at most 1 robots" in refusal(world.ask(other, hello(robot="other")))
    health = world.ask(other, messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.ready, world.counters["ready"]) == (0, 0)
    world.welcome(robot)  # its own place is no other


def test_the_loop_shows_at_least_every_quarter_of_a_second_that_it_turns(world: World) -> None:
    for _ in range(20):
        world.server.turn()
        assert world.clock.ns - world.counters["turned_ns"] <= 250 * MS


def test_a_reason_of_any_length_fits_a_frame(world: World) -> None:
    peer = world.peer()
    long = refusal(world.ask(peer, hello(observation=["n" * 60_000])))
    assert len(long) == 1000


# ---- the end


def test_an_interrupted_server_says_goodbye_to_every_robot(world: World) -> None:
    first, second = world.peer(), world.peer()
    one, two = world.welcome(first), world.welcome(second, robot="other")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    world.policy.infer = interrupt  # type: ignore[assignment,method-assign]
    first.say(messages.Observation(one.session, 0, 0, 0, VALUES))
    with pytest.raises(KeyboardInterrupt):
        world.server.run()
    assert first.hear() == messages.Bye(one.session)
    assert second.hear() == messages.Bye(two.session)


# ---- far outside of what was trained on

RANGES = (-2.0, 2.0), (0.0, 1.0), (-1.0, 1.0)


@pytest.fixture
def knowing() -> FakePolicy:
    return FakePolicy(manifest(observed=RANGES))


def test_what_is_far_outside_is_answered_flagged_counted_and_named(
    context: "zmq.Context[zmq.Socket[bytes]]",
    clock: FakeClock,
    waiting: FakeSelect,
    knowing: FakePolicy,
    logged: list[str],
) -> None:
    with closing(World(context, clock, knowing)) as world:
        ready = world.welcome(peer := world.peer())
        answers = [world.observe(peer, ready, seq, values=floats(x, 0, 0)) for seq, x in enumerate((0.5, 90.0))]
        assert [a.status for a in answers if isinstance(a, messages.Action)] == [messages.OK, messages.FAR]
        assert world.counters["far_observations"] == 1
        assert logged[-1] == "'robot': x is far outside of what the policy was trained on"


def test_where_that_is_asked_for_it_is_refused_and_moves_nothing(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, knowing: FakePolicy
) -> None:
    with closing(World(context, clock, knowing, refuse_out_of_range=True)) as world:
        ready = world.welcome(peer := world.peer())
        assert world.observe(peer, ready, 0, values=floats(0, 90, 0)) == messages.Error(
            0, messages.FAR_OUTSIDE, "y"
        )
        assert world.policy.inferred == 0
        assert world.counters["errors:far_outside"] == 1
        assert isinstance(world.observe(peer, ready, 1, values=floats(0, 0, 0)), messages.Action)
