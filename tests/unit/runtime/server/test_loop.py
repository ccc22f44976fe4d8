"""The server's loop, turn by turn: pre-touch, fairness between connections, and its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.loop import Server
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.service import Service
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import lane, messages
from odeploy_runtime.transport.inbox import Inbox
from odeploy_runtime.transport.sockets import bind_router
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, floats, hello
from tests.unit.runtime.server.world import MS, VALUES, T, World, stamps, streaming


@pytest.fixture
def touching(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock, pre_touch=True)
    yield made
    made.close()


def test_the_server_makes_a_pre_touch_run_before_the_next_expected_observation(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    at_ns = touching.clock.ns
    touching.observe(peer, ready, 0)
    touching.server.turn()
    assert touching.policy.inferred == 1 + 2
    assert at_ns + T - 500_000 < touching.clock.ns < at_ns + T - 100_000
    assert peer.receive() is None  # a pre-touch run sends nothing


def test_one_pre_touch_run_is_enough_until_the_observation_comes(touching: World) -> None:
    peer = touching.peer()
    touching.observe(peer, touching.welcome(peer))
    touching.let_pass(900 * MS)
    assert touching.policy.inferred == 3


def test_there_is_no_pre_touch_run_while_a_message_waits(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready, 0)
    touching.clock.ns += T
    assert isinstance(touching.observe(peer, ready, 1), messages.Action)
    assert touching.policy.inferred == 2


def test_there_is_no_pre_touch_run_in_a_short_period(touching: World) -> None:
    peer = touching.peer()
    touching.observe(peer, touching.welcome(peer, rate_hz=5000.0))
    touching.let_pass(600 * MS)
    assert touching.policy.inferred == 1


def test_without_the_option_there_is_no_pre_touch_run(world: World) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer))
    world.let_pass(600 * MS)
    assert world.policy.inferred == 1


def test_there_is_no_pre_touch_run_for_a_robot_that_has_sent_bye(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready)
    touching.request(peer, messages.Bye(ready.session))
    touching.let_pass(600 * MS)
    assert touching.policy.inferred == 1


def test_a_pre_touch_run_with_a_bad_observation_does_no_harm(touching: World) -> None:
    peer = touching.peer()
    ready = touching.welcome(peer)
    touching.observe(peer, ready, 0, values=floats(float("nan"), 0, 0))
    touching.server.turn()
    assert isinstance(touching.observe(peer, ready, 1), messages.Action)


@pytest.mark.parametrize("sent_ns", [0, 2**63 - 1])
def test_a_robot_with_a_wrong_clock_gets_its_answers(touching: World, sent_ns: int) -> None:
    robot = touching.peer()
    ready = touching.welcome(robot)
    for seq in range(5):
        answer = touching.request(robot, messages.Observation(ready.session, 0, seq, sent_ns, VALUES))
        assert isinstance(answer, messages.Action)
        touching.server.turn()


# ---- many messages


@pytest.fixture
def capped(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock, max_rate_hz=100.0)
    yield made
    made.close()


def test_a_flood_is_answered_up_to_the_rate_cap_and_the_rest_is_dropped(capped: World) -> None:
    peer = capped.peer()
    ready = capped.welcome(peer)
    answers = [capped.observe(peer, ready, seq) for seq in range(200)]
    assert [answer is not None for answer in answers] == [True] * 63 + [False] * 137
    capped.clock.ns += 100 * MS
    assert sum(capped.observe(peer, ready, seq) is not None for seq in range(50)) == 10
    assert capped.counters["dropped:rate_cap"] == 137 + 40


def test_a_flood_does_not_use_up_another_robots_rate(capped: World) -> None:
    flooder, robot = capped.peer(), capped.peer()
    ready = capped.welcome(robot)
    for _ in range(300):
        capped.request(flooder, b"garbage")
    assert isinstance(capped.observe(robot, ready), messages.Action)


def test_waiting_messages_of_two_robots_are_answered_in_turn(world: World) -> None:
    flooder, robot = world.peer(), world.peer()
    theirs, ready = world.welcome(flooder, robot="flooder"), world.welcome(robot)
    for seq in range(8):
        flooder.send(messages.Observation(theirs.session, 0, seq, 0, VALUES))
    robot.send(messages.Observation(ready.session, 0, 0, 0, VALUES))
    for _ in range(3):
        world.server.turn()
    assert isinstance(robot.receive(), messages.Action)


def test_a_stream_has_its_ticks_under_constant_load(world: World) -> None:
    peer, _, at_ns = streaming(world)
    flooder = world.peer()
    for _ in range(40):
        world.clock.ns += T // 2
        world.request(flooder, b"garbage")
    assert stamps(peer) == [(0, at_ns + T // 2 + k * T) for k in range(20)]


def test_between_two_messages_there_is_one_stream_tick_and_streams_take_turns(world: World) -> None:
    streams = [world.peer() for _ in range(3)]
    for number, peer in enumerate(streams):
        world.observe(peer, world.welcome(peer, mode="stream", robot=f"stream {number}"))
        world.clock.ns += MS
    flooder = world.peer()
    world.clock.ns += 2 * T
    answered = []
    for _ in range(6):
        world.request(flooder, b"garbage")
        answered.append([len(stamps(peer)) for peer in streams])
        world.clock.ns += 1
    assert answered == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_there_is_no_pre_touch_run_where_it_would_exceed_the_load(touching: World) -> None:
    for number in range(12):
        peer = touching.peer()
        touching.observe(peer, touching.welcome(peer, mode="stream", robot=f"stream {number}"))
    touching.server.turn()  # 12 × 100 Hz × 160 µs = 0.19, of which a third would be pre-touch
    touching.let_pass(T)
    assert touching.counters["rehearsals"] == 0


def test_silent_sessions_are_freed_under_constant_load(world: World, logged: list[str]) -> None:
    world.observe(peer := world.peer(), world.welcome(peer))
    flooder = world.peer()
    for _ in range(150):
        world.clock.ns += 10 * MS
        world.request(flooder, b"garbage")
    assert logged[-1] == "'robot' freed: silent"


def test_a_server_that_was_stopped_itself_frees_no_session_for_silence(world: World) -> None:
    first, second = world.peer(), world.peer()
    one, two = world.welcome(first), world.welcome(second, robot="other")
    world.clock.ns += 5000 * MS
    assert isinstance(world.observe(first, one), messages.Action)
    assert isinstance(world.observe(second, two), messages.Action)


def test_the_loop_publishes_its_turn_at_least_every_quarter_of_a_second(world: World) -> None:
    for _ in range(20):
        world.server.turn()
        assert world.clock.ns - world.counters["turned_ns"] <= 250 * MS


def test_each_turn_is_counted(world: World) -> None:
    before = world.server.turns
    world.let_pass(600 * MS)
    assert world.server.turns >= before + 3


# ---- the end


def test_an_interrupted_server_sends_bye_to_every_robot(world: World) -> None:
    first, second = world.peer(), world.peer()
    one, two = world.welcome(first), world.welcome(second, robot="other")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    world.policy.infer = interrupt  # type: ignore[assignment,method-assign]
    first.send(messages.Observation(one.session, 0, 0, 0, VALUES))
    with pytest.raises(KeyboardInterrupt):
        world.server.run()
    assert first.receive() == messages.Bye(one.session)
    assert second.receive() == messages.Bye(two.session)


def test_a_session_ends_with_its_lane_and_its_name_is_free_at_once(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, tmp_path: Path
) -> None:
    counters = Counters(SERVER)
    with lane.listen(tmp_path / "s.lane") as listener, bind_router(context, "inproc://lane") as router:
        inbox = Inbox(router, clock, listener)
        service = Service(PolicySlot(FakePolicy()), ServerOptions(pre_touch=False), clock, counters, inbox.send)
        server = Server(inbox, service, clock, counters)
        for number in range(3):
            with lane.connect(tmp_path / "s.lane") as robot:
                robot.send(messages.pack(hello()))
                server.turn()
                ready = messages.unpack(robot.recv(1000))
                assert isinstance(ready, messages.Ready)
                robot.send(messages.pack(messages.Observation(ready.session, 0, 0, clock.ns, VALUES)))
                server.turn()
                assert isinstance(messages.unpack(robot.recv(1000)), messages.Action)
            server.turn()
            assert counters["sessions_ended:disconnected"] == number + 1
            assert len(service.sessions) == 0
        inbox.close()
