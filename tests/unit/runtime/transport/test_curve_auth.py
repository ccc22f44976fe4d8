"""Authentication: listed keys are accepted, all others get no answer and are named in the log."""

import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import zmq

from odeploy_runtime.cli.keys import main
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.transport.curve_auth import Authenticator
from odeploy_runtime.transport.inbox import Inbox
from odeploy_runtime.transport.keys import RobotKeys, read_allowed, read_pair
from odeploy_runtime.transport.sockets import bind_router, connect_dealer

Context = zmq.Context[zmq.Socket[bytes]]
S = 1_000_000_000
CLOCK = MonotonicClock()


class Secured:
    """Server's socket with its authenticator; robots use another context, as in another process."""

    def __init__(self, folder: Path, context: Context, outside: Context, logged: list[str]) -> None:
        self.outside, self.robots, self.logged = outside, list[zmq.Socket[bytes]](), logged
        for name in ("server", "unlisted", "robots/arm", "robots/leg"):
            main([str(folder / name)])
        self.folder, self.endpoint = folder, f"ipc://{folder}/s"
        self.counters: Counters = Counters(SERVER)
        self.auth = Authenticator(context, read_allowed(folder / "robots"), self.counters)
        self.router = bind_router(context, self.endpoint, read_pair(folder / "server.key_secret"))
        self.auth.watch(self.router)
        self.inbox = Inbox(self.router, CLOCK, auth=self.auth)

    def keys(self, own: str, server: str = "server") -> RobotKeys:
        return RobotKeys(self.folder / f"{own}.key_secret", self.folder / f"{server}.key")

    def robot(self, keys: RobotKeys | None, endpoint: str | None = None) -> "zmq.Socket[bytes]":
        self.robots.append(connect_dealer(self.outside, endpoint or self.endpoint, keys))
        return self.robots[-1]

    def receives(self, seconds: float) -> list[bytes] | None:
        """Return the next message, or None after the timeout."""
        received = self.inbox.receive(CLOCK.now_ns() + round(seconds * S))
        return None if received is None else [received.identity, *received.frames]

    def until_logged(self, count: int = 1) -> None:
        deadline_ns = CLOCK.now_ns() + 10 * S
        while len(self.logged) < count:
            assert self.receives(0.02) is None
            assert CLOCK.now_ns() < deadline_ns

    def close(self) -> None:
        for robot in self.robots:
            robot.close()
        self.inbox.close()
        self.router.close()
        self.auth.close()


@pytest.fixture
def secured(tmp_path: Path, context: Context, logged: list[str]) -> Iterator[Secured]:
    with Context() as outside, closing(Secured(tmp_path, context, outside, logged)) as made:
        yield made


@pytest.mark.parametrize("name", ["arm", "leg"])
def test_a_robot_with_a_listed_key_is_received_and_answered(secured: Secured, name: str) -> None:
    robot = secured.robot(secured.keys(f"robots/{name}"))
    robot.setsockopt(zmq.SNDTIMEO, 0)
    deadline_ns, received = CLOCK.now_ns() + 10 * S, None
    while received is None and CLOCK.now_ns() < deadline_ns:
        try:
            robot.send(b"hello")
        except zmq.Again:
            secured.receives(0.01)
        else:
            received = secured.receives(5)
    assert received is not None
    secured.router.send_multipart((received[0], b"welcome"))
    assert robot.poll(5000)
    assert robot.recv() == b"welcome"
    assert secured.logged == []


def test_a_robot_with_an_unlisted_key_gets_no_answer_and_its_key_is_in_the_log(secured: Secured) -> None:
    robot = secured.robot(secured.keys("unlisted"))
    secured.until_logged()
    key = read_pair(secured.folder / "unlisted.key_secret").public.decode()
    (line,) = secured.logged
    assert line.startswith("rejected localhost")
    assert line.endswith(f": its key {key} is not listed")
    assert secured.counters["refusals:key"] == 1
    with pytest.raises(zmq.Again):
        robot.send(b"hello", zmq.NOBLOCK)
    assert not robot.poll(50)


def test_a_robot_without_a_key_gets_no_answer_and_a_line_in_the_log(secured: Secured) -> None:
    robot = secured.robot(None)
    secured.until_logged()
    assert secured.logged[0] == f"rejected at {secured.endpoint}: no key, or not for this server"
    assert secured.counters["refusals:handshake"] >= 1
    with pytest.raises(zmq.Again):
        robot.send(b"hello", zmq.NOBLOCK)
    assert not robot.poll(50)


def test_a_robot_that_expects_another_server_sends_this_one_nothing(secured: Secured) -> None:
    robot = secured.robot(secured.keys("robots/arm", "unlisted"))
    secured.until_logged()
    assert "no key, or not for this server" in secured.logged[0]
    with pytest.raises(zmq.Again):
        robot.send(b"hello", zmq.NOBLOCK)


def test_a_robot_with_keys_sends_nothing_to_a_plain_server(context: Context, secured: Secured) -> None:
    """Another server at the address gets no observations."""
    endpoint = f"ipc://{secured.folder}/impostor"
    with closing(bind_router(context, endpoint)) as impostor:
        robot = secured.robot(secured.keys("robots/arm"), endpoint)
        assert not impostor.poll(200)
        with pytest.raises(zmq.Again):
            robot.send(b"observation", zmq.NOBLOCK)


def test_authentication_waits_while_a_message_waits(secured: Secured) -> None:
    arm = secured.robot(secured.keys("robots/arm"))
    arm.setsockopt(zmq.SNDTIMEO, 0)
    sent = 0
    while not sent:
        secured.receives(0.01)
        try:
            arm.send(b"1")
            arm.send(b"2")
            sent = 2
        except zmq.Again:
            continue
    assert select.select([cast(int, secured.router.getsockopt(zmq.FD))], [], [], 5)[0]
    secured.robot(secured.keys("unlisted"))
    assert secured.receives(5) is not None
    assert secured.receives(5) is not None
    secured.until_logged()


@pytest.mark.parametrize(
    "how",
    [(b"NULL",), (b"PLAIN", b"user", b"word"), (b"CURVE",), (b"CURVE", b"short"), (b"CURVE", b"x" * 32, b"y")],
)
def test_any_other_zap_request_is_rejected(secured: Secured, context: Context, how: tuple[bytes, ...]) -> None:
    with closing(context.socket(zmq.REQ)) as client:
        client.connect("inproc://zeromq.zap.01")
        client.send_multipart((b"1.0", b"7", b"odeploy", b"10.0.0.1", b"", *how))
        assert secured.auth.run_once()
        assert client.recv_multipart() == [b"1.0", b"7", b"400", b"", b"", b""]
    assert secured.logged[0].startswith("rejected 10.0.0.1: its key ")
