"""The server's status: its counters, and its answer to a Ping."""

from typing import Any

import pytest

from odeploy_runtime.realtime.counters import SERVER
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import floats, hello
from tests.unit.runtime.server.world import MS, World, refusal


def test_each_answer_error_and_refusal_is_counted(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    world.observe(peer, ready)
    world.observe(peer, ready, values=floats(float("nan"), 0, 0))
    world.observe(peer, ready, values=b"")
    world.observe(peer, ready._replace(session=0))
    world.request(peer, b"garbage")
    misfits: dict[str, Any] = {
        "protocol": 2,
        "robot": "",
        "rate_hz": 0.0,
        "mode": "push",
        "task": "kitchen",
        "action": [],
    }
    for changes in ({}, *({name: value} for name, value in misfits.items())):
        refusal(world.request(world.peer(), hello(**changes)))
    world.request(peer, messages.Bye(ready.session))
    counted = {name: world.counters[name] for name in SERVER.counters if world.counters[name]}
    assert counted.pop("inference_ns", 0) == 0  # the clock does not advance
    assert counted == {
        "messages": 14,
        "actions": 1,
        "errors:unknown_session": 1,
        "errors:wrong_length": 1,
        "errors:not_finite": 1,
        "errors:malformed": 1,
        "refusals:protocol": 1,
        "refusals:name": 1,
        "refusals:rate": 1,
        "refusals:mode": 1,
        "refusals:task": 1,
        "refusals:signals": 1,
        "refusals:name_in_use": 1,
        "sessions_opened": 1,
        "sessions_ended:goodbye": 1,
    }


def test_a_peer_without_a_session_gets_the_servers_health(world: World) -> None:
    robot = world.peer()
    world.observe(robot, world.welcome(robot))
    world.request(robot, b"garbage")
    refusal(world.request(world.peer(), hello(protocol=9)))
    world.clock.ns += 7 * MS
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL))
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


def test_a_ping_with_any_protocol_number_gets_the_servers(world: World) -> None:
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL + 1))
    assert isinstance(health, messages.Health)
    assert health.protocol == messages.PROTOCOL


def test_a_full_server_refuses_another_robot_and_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odeploy_runtime.server.sessions._MAX_SESSIONS", 1)
    robot, other = world.peer(), world.peer()
    world.welcome(robot)
    assert "expected at most 1 robots" in refusal(world.request(other, hello(robot="other")))
    health = world.request(other, messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.ready, world.counters["ready"]) == (0, 0)
    world.welcome(robot)  # it keeps its own place


def test_a_server_with_too_much_load_is_not_ready(world: World) -> None:
    world.server._service.load.streams_hz = 5000.0
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.ready, world.counters["load_permille"]) == (0, 800)


def test_a_server_whose_endpoint_is_closed_is_not_ready(world: World) -> None:
    world.counters.set("endpoint_closed", 1)
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert health.ready == 0
