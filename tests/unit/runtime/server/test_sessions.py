"""The session table: which robots it admits, and when a session ends."""

from typing import Any

import msgpack
import pytest

from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.load import Load
from odeploy_runtime.server.session import Session
from odeploy_runtime.server.sessions import Refusal, Sessions, contract_refusal
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import hello, manifest
from tests.unit.runtime.server.test_session import HISTORY, with_recipe
from tests.unit.runtime.server.world import MS, T, World, refusal

S = 1_000_000_000


def test_a_robot_must_send_the_raw_signals_and_not_the_prepared_ones() -> None:
    robot = hello(observation=["angle", "goal"])
    assert contract_refusal(robot, with_recipe(HISTORY)) is None
    refused = contract_refusal(
        robot._replace(observation=["angle_2_ago", "angle_1_ago", "angle"]), with_recipe(HISTORY)
    )
    assert refused is not None
    assert "missing goal" in refused.reason


def test_a_name_in_use_is_refused_and_a_silent_session_is_replaced() -> None:
    counters = Counters(SERVER)
    sessions = Sessions(counters, Load(0.5, 10_000, 0))
    first = sessions.admit(b"one", hello(), manifest(), 0)
    assert isinstance(first, Session)
    first.frame = b"an observation"
    refused = sessions.admit(b"two", hello(), manifest(), S - 1)
    assert isinstance(refused, Refusal)
    assert refused.kind == "name_in_use"
    second = sessions.admit(b"two", hello(), manifest(), S)
    assert isinstance(second, Session)
    assert [*sessions] == [second]
    assert sessions.get(b"one") is None
    assert counters["sessions_ended:replaced"] == 1


def test_silent_sessions_end_after_their_timeout() -> None:
    sessions = Sessions(Counters(SERVER), Load(0.5, 10_000, 0))
    active, waiting = (sessions.admit(name, hello(robot=name.decode()), manifest(), 0) for name in (b"a", b"b"))
    assert isinstance(active, Session)
    active.frame = b"an observation"
    sessions.end_silent(S - 1)
    assert [*sessions] == [active, waiting]
    sessions.end_silent(S)
    assert [*sessions] == [waiting]
    sessions.end_silent(5 * S - 1)
    assert [*sessions] == [waiting]
    sessions.end_silent(5 * S)
    assert not [*sessions]


@pytest.mark.parametrize(
    ("rate_hz", "observed", "unobserved"), [(100.0, 1.0, 5.0), (3.0, 1.0, 5.0), (2.0, 1.5, 5.0), (0.5, 6.0, 6.0)]
)
def test_a_robot_is_silent_after_a_second_or_three_periods(
    rate_hz: float, observed: float, unobserved: float
) -> None:
    session = Session(b"one", 1, hello(rate_hz=rate_hz), PolicyState(manifest(), 0), last_received_ns=7)
    for limit_s in (unobserved, observed):
        assert not session.is_silent(7 + round(limit_s * S) - 1)
        assert session.is_silent(7 + round(limit_s * S))
        session.frame = b"an observation"


def test_the_refusal_of_a_name_in_use_alone_has_its_words() -> None:
    sessions = Sessions(Counters(SERVER), Load(0.5, 10_000, 0))
    misfits: dict[str, Any] = {
        "protocol": 2,
        "robot": "",
        "mode": "push",
        "rate_hz": 0.0,
        "task": "kitchen",
        "observation": ["y", "x", "speed"],
        "action": ["motor_x"] * 1025,
    }
    tried = [hello(**{field: value}) for field, value in misfits.items()]
    tried.append(hello(mode="stream", rate_hz=10_000.0))  # beyond the load
    answers = [sessions.admit(b"one", each, manifest(), 0) for each in tried]
    for number in range(2048):
        sessions.admit(b"%d" % number, hello(robot=f"arm {number}"), manifest(), 0)
    answers += [sessions.admit(b"one", hello(robot=name), manifest(), 0) for name in ("one", "arm 0")]
    refused = [each for each in answers if isinstance(each, Refusal)]
    assert len(refused) == len(answers)
    kinds = {name.removeprefix("refusals:") for name in SERVER.counters if name.startswith("refusals:")}
    assert {each.kind for each in refused} == kinds - {"key", "handshake"}  # these get no answer
    *others, in_use = [each.reason for each in refused]
    assert in_use.startswith("the robot name is in use: 'arm 0'")
    assert not [reason for reason in others if "is in use" in reason]


# ---- in a server


def test_a_matching_robot_gets_its_session_and_the_policy(world: World, logged: list[str]) -> None:
    ready = world.welcome(world.peer())
    expected = messages.Ready(messages.PROTOCOL, 0, "teacher", "f" * 64, 100.0, 1, provider="fake")
    assert ready._replace(session=0) == expected
    assert logged == ["'robot' connected: maze-medium, 100 Hz, request"]


@pytest.mark.fault(10)
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
        ({"rate_hz": 0.0}, "got 0; choose another rate"),
        ({"rate_hz": -100.0}, "got -100;"),
        ({"rate_hz": 10_001.0}, "got 10001;"),
        ({"rate_hz": float("nan")}, "got nan;"),
        ({"rate_hz": float("inf")}, "got inf;"),
        ({"rate_hz": 5e-324}, "choose another rate"),
        ({"rate_hz": 2**64 - 1}, "choose another rate"),
        ({"rate_hz": 0.0099}, "expected a rate of 0.01 to 10000 Hz, got 0.0099"),
        ({"rate_hz": 0.99, "mode": "stream"}, "expected a rate of 1 to 10000 Hz, got 0.99"),
        ({"robot": ""}, "expected a robot name of 1 to 128 printable characters, got ''"),
        ({"robot": "arm\nfreed"}, "got 'arm\\nfreed'; choose another name"),
        ({"robot": "arm\x1b[2J"}, "got 'arm\\x1b[2J'"),
        ({"robot": "a" * 129}, "got '" + "a" * 128 + "'"),
        ({"mode": "push"}, "expected mode request or stream, got 'push'"),
        ({"task": "kitchen"}, "expected task 'maze-medium', got 'kitchen'; serve a policy for the robot's task"),
        ({"task": "x" * 1000}, "got '" + "x" * 100 + "'"),
        ({"observation": ["x"] * 1025}, "expected at most 1024 signals, got 1025"),
    ],
)
def test_a_robot_that_does_not_match_is_refused_with_the_reason(
    world: World, changes: dict[str, Any], reason: str, logged: list[str]
) -> None:
    assert reason in refusal(world.request(world.peer(), hello(**changes)))
    assert logged[0].startswith(f"refused {changes.get('robot', 'robot')!r}: ")


def test_a_robot_name_of_128_printable_characters_is_served(world: World) -> None:
    world.welcome(world.peer(), robot="Ä 7" + "x" * 125)


def test_a_robot_that_does_not_name_its_task_is_served(world: World) -> None:
    world.welcome(world.peer(), task="")


@pytest.mark.parametrize(
    ("rate_hz", "mode"),
    [
        (0.01, "request"),
        (25 / 32, "request"),
        (1, "request"),
        (10_000.0, "request"),
        (1, "stream"),
        (1.0, "stream"),
        (3000.0, "stream"),
    ],
)
def test_rates_at_the_bounds_are_served(world: World, rate_hz: float, mode: str) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer, rate_hz=rate_hz, mode=mode))
    world.server.turn()


def test_a_stream_beyond_the_load_is_refused_with_both_figures_until_another_has_ended(world: World) -> None:
    # A stream's tick counts 6 × 10 µs (the policy's hot call) + 100 µs until answers are measured.
    first, second = world.peer(), world.peer()
    world.welcome(first, mode="stream", rate_hz=3000.0)
    reason = refusal(world.request(second, hello(robot="second", mode="stream", rate_hz=1000.0)))
    assert "expected a load of at most 0.5 of a core, got 0.64 with this stream (4000 ticks/s × 160 µs" in reason
    world.welcome(second, robot="second", rate_hz=1000.0)  # requests are admitted
    ready = world.welcome(first, mode="stream", rate_hz=3100.0)  # its own old stream does not count
    world.request(first, messages.Bye(ready.session))
    world.welcome(second, robot="second", mode="stream", rate_hz=1000.0)
    assert world.counters["refusals:full"] == 1


def test_a_refused_robot_can_try_again(world: World) -> None:
    peer = world.peer()
    refusal(world.request(peer, hello(protocol=9)))
    world.welcome(peer)


def test_a_second_robot_with_the_same_name_is_refused_and_the_first_keeps_running(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    assert "the robot name is in use: 'robot'" in refusal(world.request(second, hello()))
    assert isinstance(world.observe(first, ready), messages.Action)
    world.welcome(second, robot="other")


def test_a_name_is_free_after_one_second_of_silence_and_not_before(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    world.observe(first, ready)
    world.clock.ns += 1000 * MS - 1
    refusal(world.request(second, hello()))
    world.clock.ns += 1
    world.welcome(second)
    answer = world.observe(first, ready)
    assert answer == messages.Error(0, messages.UNKNOWN_SESSION, "")


def test_a_robot_keeps_its_name_for_five_seconds_before_its_first_observation(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    world.clock.ns += 5000 * MS - 1
    refusal(world.request(second, hello()))
    assert isinstance(world.observe(first, ready), messages.Action)


def test_a_robot_that_asks_once_per_chunk_keeps_its_session(world: World) -> None:
    ready = world.welcome(peer := world.peer(), rate_hz=25 / 32)
    for number in range(4):
        assert isinstance(world.observe(peer, ready, 32 * number), messages.Action)
        world.let_pass(1280 * MS)
    world.let_pass(1280 * MS)  # an observation is lost
    assert isinstance(world.observe(peer, ready, 5 * 32), messages.Action)


def test_observations_of_a_wrong_length_keep_a_session_and_pings_do_not(world: World) -> None:
    wrong, pings = world.peer(), world.peer()
    one, two = world.welcome(wrong, robot="wrong"), world.welcome(pings, robot="pings")
    for peer, ready in ((wrong, one), (pings, two)):
        world.observe(peer, ready)
    for _ in range(4):
        world.clock.ns += 400 * MS
        world.observe(wrong, one, values=b"")
        world.request(pings, messages.Ping(messages.PROTOCOL))
        world.server.turn()
    assert isinstance(world.observe(wrong, one), messages.Action)
    assert world.observe(pings, two) == messages.Error(0, messages.UNKNOWN_SESSION, "")


def test_an_observation_keeps_a_session_alive(world: World) -> None:
    first, second = world.peer(), world.peer()
    ready = world.welcome(first)
    for seq in range(4):
        world.clock.ns += 900 * MS
        assert isinstance(world.observe(first, ready, seq), messages.Action)
    refusal(world.request(second, hello()))


def test_a_silent_session_is_freed_without_another_message(world: World, logged: list[str]) -> None:
    ready = world.welcome(peer := world.peer())
    world.observe(peer, ready)
    world.let_pass(1300 * MS)
    assert logged[-1] == "'robot' freed: silent"
    assert isinstance(world.observe(peer, ready), messages.Error)


def test_a_session_without_an_observation_has_a_longer_timeout(world: World, logged: list[str]) -> None:
    world.welcome(world.peer())
    world.let_pass(4750 * MS)
    assert logged[-1] != "'robot' freed: silent"
    world.let_pass(500 * MS)
    assert logged[-1] == "'robot' freed: silent"


def test_a_silent_session_is_freed_while_another_robot_keeps_the_server_busy(
    world: World, logged: list[str]
) -> None:
    world.observe(peer := world.peer(), world.welcome(peer, robot="silent"))
    busy = world.peer()
    ready = world.welcome(busy, robot="busy")
    for seq in range(150):
        world.clock.ns += T
        world.observe(busy, ready, seq)
        if seq % 10 == 0:
            world.server.turn()  # a turn without a message
    assert "'silent' freed: silent" in logged
    assert "'busy' freed: silent" not in logged


def test_the_stream_of_a_silent_robot_ends(world: World, logged: list[str]) -> None:
    peer = world.peer()
    world.observe(peer, world.welcome(peer, mode="stream"))
    world.let_pass(1500 * MS)
    assert logged[-1] == "'robot' freed: silent"
    inferred = world.policy.inferred
    world.let_pass(500 * MS)
    assert world.policy.inferred == inferred


def test_a_bye_frees_the_name_at_once(world: World, logged: list[str]) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    assert world.request(peer, messages.Bye(ready.session)) is None
    world.welcome(world.peer())
    assert logged[1] == "'robot' freed: closed by the robot"


def test_a_bye_without_a_session_is_ignored(world: World) -> None:
    assert world.request(world.peer(), messages.Bye(5)) is None


def test_a_bye_with_a_foreign_session_number_is_ignored(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    assert world.request(peer, messages.Bye(ready.session + 1)) is None
    assert isinstance(world.observe(peer, ready), messages.Action)


def test_a_second_hello_on_one_connection_begins_a_new_session(world: World) -> None:
    peer = world.peer()
    old, new = world.welcome(peer), world.welcome(peer)
    assert old.session != new.session
    assert world.observe(peer, old) == messages.Error(0, messages.UNKNOWN_SESSION, "")
    assert isinstance(world.observe(peer, new), messages.Action)


@pytest.mark.parametrize("second", [hello(task="kitchen"), hello(protocol=2), b"\x91\x01"])
def test_a_second_hello_without_a_new_session_leaves_the_old_one(
    world: World, second: messages.Hello | bytes
) -> None:
    ready = world.welcome(peer := world.peer())
    assert isinstance(world.request(peer, second), messages.Refused | messages.Error)
    assert isinstance(world.observe(peer, ready), messages.Action)


def test_a_hello_of_another_version_that_does_not_fit_is_malformed(world: World) -> None:
    later = msgpack.packb([1, messages.PROTOCOL + 1, {"robot": "arm"}])
    answer = world.request(world.peer(), later)
    assert isinstance(answer, messages.Error)
    assert (answer.seq, answer.code) == (0, messages.MALFORMED)


def test_a_reason_of_any_length_fits_a_frame(world: World) -> None:
    peer = world.peer()
    long = refusal(world.request(peer, hello(observation=["n" * 60_000])))
    assert len(long) == 1000
