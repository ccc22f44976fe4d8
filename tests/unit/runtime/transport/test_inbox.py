"""The server's inbox: lanes and ZeroMQ in one wait, in turns."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.inbox import Inbox
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import bind_router, connect_dealer
from tests.unit.runtime.fakes import FakeSelect

Context = zmq.Context[zmq.Socket[bytes]]
MS, S = 1_000_000, 1_000_000_000


class Ends:
    """An inbox and its clients' ends."""

    def __init__(self, context: Context, path: Path, clock: FakeClock | MonotonicClock) -> None:
        self.context, self.path, self.clock, self.stack = context, path, clock, ExitStack()
        self.listener = self.stack.enter_context(lane.listen(path))
        self.router = self.stack.enter_context(bind_router(context, "inproc://s"))
        self.inbox = Inbox(self.router, clock, self.listener)
        self.stack.callback(self.inbox.close)

    def robot(self) -> socket.socket:
        return self.stack.enter_context(lane.connect(self.path))

    def dealer(self) -> "zmq.Socket[bytes]":
        return self.stack.enter_context(connect_dealer(self.context, "inproc://s"))

    def next(self) -> tuple[bytes, list[bytes]] | None:
        """Return the next message that waits; without one, 1 ns passes."""
        return self.inbox.receive(self.clock.now_ns() + 1)

    def drain(self) -> list[bytes]:
        """Return the first bytes of all waiting frames, in order of their turns."""
        taken = []
        while (received := self.next()) is not None:
            taken.append(received[1][0][:1])
        return taken


@pytest.fixture
def ends(context: Context, tmp_path: Path, clock: FakeClock, waiting: FakeSelect) -> Iterator[Ends]:
    made = Ends(context, tmp_path / "s.lane", clock)
    yield made
    made.stack.close()


def test_each_connection_gets_its_own_reply(ends: Ends) -> None:
    one, other, dealer = ends.robot(), ends.robot(), ends.dealer()
    for sender, frame in ((one, b"one"), (other, b"other"), (dealer, b"dealer")):
        sender.send(frame)
        received = ends.next()
        assert received is not None
        assert received[1] == [frame]
        assert ends.inbox.send(received[0], b"to " + frame)
    assert (one.recv(100), other.recv(100), dealer.recv()) == (b"to one", b"to other", b"to dealer")


def test_lanes_and_zeromq_take_turns(ends: Ends) -> None:
    flood, robot, dealer = ends.robot(), ends.robot(), ends.dealer()
    for _ in range(50):
        flood.send(b"flood")
    for sender in (robot, dealer):
        sender.send(b"1")
        sender.send(b"2")
    order = ends.drain()
    assert sorted(order) == [b"1"] * 2 + [b"2"] * 2 + [b"f"] * 50
    assert set(order[-40:]) == {b"f"}  # the others' frames came within the first rounds


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(counts=st.lists(st.integers(0, 12), min_size=1, max_size=6), zeromq=st.integers(0, 8))
def test_no_lane_waits_for_more_than_a_frame_of_each_other_source(
    ends: Ends, counts: list[int], zeromq: int
) -> None:
    robots, dealer = [ends.robot() for _ in counts], ends.dealer()
    assert ends.next() is None  # accepts them
    for number, (robot, count) in enumerate(zip(robots, counts, strict=True)):
        for _ in range(count):
            robot.send(b"%d" % number)
    for _ in range(zeromq):
        dealer.send(b"z")
    order = ends.drain()
    sent = {b"%d" % number: count for number, count in enumerate(counts)} | {b"z": zeromq}
    assert Counter(order) == Counter(sent)
    for name in set(order):
        places = [place for place, taken in enumerate(order) if taken == name]
        assert all(place < (round_ + 1) * len(sent) for round_, place in enumerate(places))
    for robot in robots:
        robot.close()
    while (ended := ends.next()) is not None:
        assert ended[1] == []


def test_a_closed_lane_is_reported_once_and_its_frames_come_first(ends: Ends) -> None:
    robot = ends.robot()
    robot.send(b"goodbye")
    robot.close()
    first = ends.next()
    assert first is not None
    assert first[1] == [b"goodbye"]
    assert ends.next() == (first[0], [])
    assert ends.next() is None
    assert not ends.inbox.send(first[0], b"too late")


def test_a_frame_too_long_ends_its_lane_alone(ends: Ends) -> None:
    hostile, robot = ends.robot(), ends.robot()
    hostile.send(b"x" * (MAX_FRAME_BYTES + 1))
    robot.send(b"x" * MAX_FRAME_BYTES)
    received = [ends.next(), ends.next()]
    assert sorted(len(r[1]) for r in received if r is not None) == [0, 1]
    assert lane.receive(hostile) == b""


def test_a_robot_that_does_not_read_loses_frames_and_holds_up_nobody(ends: Ends) -> None:
    robot = ends.robot()
    robot.send(b"x")
    received = ends.next()
    assert received is not None
    assert not all(ends.inbox.send(received[0], b"x" * 1000) for _ in range(1000))
    robot.recv(MAX_FRAME_BYTES)
    assert ends.inbox.send(received[0], b"room again")


def test_a_deadline_that_has_passed_still_reads_what_waits(ends: Ends, clock: FakeClock) -> None:
    robot = ends.robot()
    assert ends.next() is None  # accepts it
    robot.send(b"x")
    assert ends.inbox.receive(clock.ns - MS) is not None
    now_ns = clock.ns
    assert ends.inbox.receive(clock.ns - MS) is None
    assert ends.inbox.receive(clock.ns + 12_345_678) is None
    assert clock.ns == now_ns + 12_345_678


def test_a_message_behind_a_consumed_edge_is_read(ends: Ends) -> None:
    """Sending lets ZeroMQ process its commands, after which its descriptor no longer shows the message."""
    dealer = ends.dealer()
    dealer.send(b"1")
    first = ends.next()
    assert first is not None
    assert ends.next() is None
    for number in range(2, 10):
        dealer.send(b"%d" % number)
        assert ends.inbox.send(first[0], b"reply")
        ends.router.getsockopt(zmq.EVENTS)  # as any call of libzmq may
        assert ends.next() == (first[0], [b"%d" % number])


def test_lanes_beyond_the_limit_wait_until_another_ends(ends: Ends) -> None:
    ends.inbox.most_lanes = 2
    robots = [ends.robot() for _ in range(3)]
    for robot in robots:
        robot.send(b"x")
    assert ends.drain() == [b"x"] * 2
    robots[0].close()
    assert ends.next() is not None  # its end
    assert ends.next() is None
    ends.inbox.close_idle(())
    assert ends.drain() == [b"x"]


def test_lanes_that_are_silent_without_a_session_are_closed_after_five_seconds(
    ends: Ends, clock: FakeClock
) -> None:
    idle, robot, talker = ends.robot(), ends.robot(), ends.robot()
    idle.send(b"i")
    robot.send(b"r")
    talker.send(b"t")
    identities = {received[1][0]: received[0] for _ in range(3) if (received := ends.next()) is not None}
    sessions = {identities[b"r"]}
    ends.inbox.close_idle(sessions)
    for seconds in range(6):
        talker.send(b"t")
        assert ends.next() is not None
        ends.inbox.close_idle(sessions)
        assert lane.receive(idle) == (None if seconds < 5 else b"")
        assert lane.receive(robot) is None
        assert lane.receive(talker) is None
        clock.ns += S
    ends.inbox.close_idle(())
    clock.ns += 5 * S - 1
    ends.inbox.close_idle(())
    assert lane.receive(robot) is None  # its time runs from the end of its session
    clock.ns += 1
    ends.inbox.close_idle(())
    assert lane.receive(robot) == b""


class FakeAuth:
    """Authentication with `count` requests."""

    descriptors: tuple[int, ...] = ()

    def __init__(self, count: int) -> None:
        self.left, self.done = count, 0

    def run_once(self) -> bool:
        self.done += self.left > 0
        self.left -= 1
        return self.left >= 0


def test_authentication_runs_between_messages_and_extends_no_deadline(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router:
        auth = FakeAuth(3)
        inbox = Inbox(router, clock, auth=auth)
        assert inbox.receive(clock.ns + 1000) is None
        assert auth.done == 3
        endless = Inbox(router, clock, auth=FakeAuth(10**9))
        assert endless.receive(clock.ns) is None
        for each in (inbox, endless):
            each.close()


def test_the_real_wait_wakes_for_a_lane_and_for_zeromq(context: Context, tmp_path: Path) -> None:
    endpoint, clock = f"ipc://{tmp_path}/s", MonotonicClock()
    with (
        lane.listen(tmp_path / "s.lane") as listener,
        bind_router(context, endpoint) as router,
        connect_dealer(context, endpoint) as dealer,
    ):
        dealer.setsockopt(zmq.SNDTIMEO, 5000)
        inbox = Inbox(router, clock, listener)
        with lane.connect(tmp_path / "s.lane") as robot:
            for _ in range(20):
                robot.send(b"lane")
                dealer.send(b"zmq")
                received = [inbox.receive(clock.now_ns() + 5 * S) for _ in range(2)]
                assert sorted(r.frames[0] for r in received if r is not None) == [b"lane", b"zmq"]
                for each in received:
                    assert each is not None
                    inbox.send(each.identity, b"reply")
                assert dealer.recv() == b"reply"
                robot.setblocking(True)
                assert robot.recv(10) == b"reply"
        inbox.close()
