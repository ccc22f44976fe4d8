"""The session table: which robots it admits."""

from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.session import Session
from odeploy_runtime.server.sessions import Refusal, Sessions, contract_refusal
from tests.unit.runtime.fakes import hello, manifest
from tests.unit.runtime.server.test_session import HISTORY, said

S = 1_000_000_000


def test_a_robot_is_asked_for_the_raw_signals_and_not_for_what_is_made_of_them() -> None:
    robot = hello(observation=["angle", "goal"])
    assert contract_refusal(robot, said(HISTORY)) is None
    against = contract_refusal(robot._replace(observation=["angle_2_ago", "angle_1_ago", "angle"]), said(HISTORY))
    assert against is not None
    assert "missing goal" in against.reason


def test_a_name_that_is_in_use_is_refused_and_one_that_fell_silent_is_replaced() -> None:
    counters = Counters(SERVER)
    sessions = Sessions(counters)
    first = sessions.admit(b"one", hello(), manifest(), 0)
    assert isinstance(first, Session)
    refused = sessions.admit(b"two", hello(), manifest(), S - 1)
    assert isinstance(refused, Refusal)
    assert refused.kind == "name_in_use"
    second = sessions.admit(b"two", hello(), manifest(), S)
    assert isinstance(second, Session)
    assert [*sessions] == [second]
    assert sessions.get(b"one") is None
    assert counters["sessions_ended:replaced"] == 1


def test_sessions_end_after_their_silence() -> None:
    sessions = Sessions(Counters(SERVER))
    begun, waiting = (sessions.admit(name, hello(robot=name.decode()), manifest(), 0) for name in (b"a", b"b"))
    assert isinstance(begun, Session)
    begun.frame = b"an observation"
    sessions.end_silent(S + 1)
    assert [*sessions] == [waiting]
    sessions.end_silent(5 * S + 1)
    assert not [*sessions]
