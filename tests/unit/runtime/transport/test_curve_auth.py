"""Authentication: listed keys are accepted, all others meet silence and are named in the log."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.cli.keys import main
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.transport.curve_auth import Authenticator
from odeploy_runtime.transport.keys import RobotKeys, read_allowed, read_pair
from odeploy_runtime.transport.sockets import bind_router, connect_dealer, receive

Context = zmq.Context[zmq.Socket[bytes]]
S = 1_000_000_000
CLOCK = MonotonicClock()


class House:
    """A server's socket with its authenticator; robots come from another context, as from another process."""

    def __init__(self, folder: Path, context: Context, outside: Context, logged: list[str]) -> None:
        self.outside, self.robots, self.logged = outside, list[zmq.Socket[bytes]](), logged
        for name in ("server", "stranger", "robots/arm", "robots/leg"):
            main([str(folder / name)])
        self.folder, self.endpoint = folder, f"ipc://{folder}/s"
        self.counters: Counters = Counters(SERVER)
        self.auth = Authenticator(context, read_allowed(folder / "robots"), self.counters)
        self.router = bind_router(context, self.endpoint, read_pair(folder / "server.key_secret"))
        self.auth.watch(self.router)

    def keys(self, own: str, server: str = "server") -> RobotKeys:
        return RobotKeys(self.folder / f"{own}.key_secret", self.folder / f"{server}.key")

    def robot(self, keys: RobotKeys | None, endpoint: str | None = None) -> "zmq.Socket[bytes]":
        self.robots.append(connect_dealer(self.outside, endpoint or self.endpoint, keys))
        return self.robots[-1]

    def hears(self, seconds: float) -> list[bytes] | None:
        """The next message, if one comes in time."""
        return receive(self.router, CLOCK.now_ns() + round(seconds * S), CLOCK, self.auth)

    def until_logged(self, count: int = 1) -> None:
        deadline_ns = CLOCK.now_ns() + 10 * S
        while len(self.logged) < count:
            assert self.hears(0.02) is None
            assert CLOCK.now_ns() < deadline_ns

    def close(self) -> None:
        for robot in self.robots:
            robot.close()
        self.router.close()
        self.auth.close()


@pytest.fixture
def house(tmp_path: Path, context: Context, logged: list[str]) -> Iterator[House]:
    with Context() as outside, closing(House(tmp_path, context, outside, logged)) as made:
        yield made


@pytest.mark.parametrize("name", ["arm", "leg"])
def test_a_robot_whose_key_is_listed_is_heard_and_answered(house: House, name: str) -> None:
    robot = house.robot(house.keys(f"robots/{name}"))
    robot.setsockopt(zmq.SNDTIMEO, 0)
    deadline_ns, heard = CLOCK.now_ns() + 10 * S, None
    while heard is None and CLOCK.now_ns() < deadline_ns:
        try:
            robot.send(b"hello")
        except zmq.Again:
            house.hears(0.01)
        else:
            heard = house.hears(5)
    assert heard is not None
    house.router.send_multipart((heard[0], b"welcome"))
    assert robot.poll(5000)
    assert robot.recv() == b"welcome"
    assert house.logged == []


def test_a_robot_whose_key_is_not_listed_meets_silence_and_its_key_is_in_the_log(house: House) -> None:
    robot = house.robot(house.keys("stranger"))
    house.until_logged()
    key = read_pair(house.folder / "stranger.key_secret").public.decode()
    (line,) = house.logged
    assert line.startswith("rejected localhost")
    assert line.endswith(f": its key {key} is not listed")
    assert house.counters["refusals:key"] == 1
    with pytest.raises(zmq.Again):
        robot.send(b"let me in", zmq.NOBLOCK)
    assert not robot.poll(50)


def test_a_robot_without_a_key_meets_silence_and_a_line_in_the_log(house: House) -> None:
    robot = house.robot(None)
    house.until_logged()
    assert house.logged[0] == f"rejected at {house.endpoint}: no key, or not for this server"
    assert house.counters["refusals:handshake"] >= 1
    with pytest.raises(zmq.Again):
        robot.send(b"let me in", zmq.NOBLOCK)
    assert not robot.poll(50)


def test_a_robot_that_expects_another_server_tells_this_one_nothing(house: House) -> None:
    robot = house.robot(house.keys("robots/arm", "stranger"))
    house.until_logged()
    assert "no key, or not for this server" in house.logged[0]
    with pytest.raises(zmq.Again):
        robot.send(b"let me in", zmq.NOBLOCK)


def test_a_plain_server_tells_a_robot_with_keys_nothing(context: Context, house: House) -> None:
    """Somebody else at the address: the robot neither sends its observations nor takes actions."""
    endpoint = f"ipc://{house.folder}/impostor"
    with closing(bind_router(context, endpoint)) as impostor:
        robot = house.robot(house.keys("robots/arm"), endpoint)
        assert not impostor.poll(200)
        with pytest.raises(zmq.Again):
            robot.send(b"observation", zmq.NOBLOCK)


def test_the_door_is_not_answered_while_a_message_waits(house: House) -> None:
    arm = house.robot(house.keys("robots/arm"))
    arm.setsockopt(zmq.SNDTIMEO, 0)
    sent = 0
    while not sent:
        house.hears(0.01)
        try:
            arm.send(b"1")
            arm.send(b"2")
            sent = 2
        except zmq.Again:
            continue
    assert house.router.poll(5000)
    house.robot(house.keys("stranger"))
    assert house.hears(5) is not None
    assert house.hears(5) is not None
    house.until_logged()


@pytest.mark.parametrize(
    "how",
    [(b"NULL",), (b"PLAIN", b"user", b"word"), (b"CURVE",), (b"CURVE", b"short"), (b"CURVE", b"x" * 32, b"y")],
)
def test_any_other_question_is_answered_with_no(house: House, context: Context, how: tuple[bytes, ...]) -> None:
    with closing(context.socket(zmq.REQ)) as asker:
        asker.connect("inproc://zeromq.zap.01")
        asker.send_multipart((b"1.0", b"7", b"odeploy", b"10.0.0.1", b"", *how))
        assert house.auth.run_once()
        assert asker.recv_multipart() == [b"1.0", b"7", b"400", b"", b"", b""]
    assert house.logged[0].startswith("rejected 10.0.0.1: its key ")
