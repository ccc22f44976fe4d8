"""The I/O process: whatever becomes of it, the robot neither waits too long nor fails, and frames stay whole."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.errors import RelayedError, WorkerError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.transport.io_process import TOUCH, UNSENT
from odeploy_runtime.transport.link import IoProcessLink
from odeploy_runtime.transport.sockets import bind_router

S = 1_000_000_000
CLOCK = MonotonicClock()


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/s.ipc"


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context[zmq.Socket[bytes]]() as made:
        yield made
        made.destroy(linger=0)


@pytest.fixture
def server(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    router = bind_router(context, endpoint)
    router.setsockopt(zmq.RCVTIMEO, 20_000)
    return router


@pytest.fixture
def link(endpoint: str) -> Iterator[IoProcessLink]:
    with closing(IoProcessLink(endpoint, CLOCK)) as made:
        yield made


def deliver(link: IoProcessLink, server: "zmq.Socket[bytes]", frame: bytes) -> bytes:
    """Puts until it arrives, since the I/O process connects in its own time; returns its identity."""
    deadline_ns = CLOCK.now_ns() + 20 * S
    link.put(frame)
    while not server.poll(10):
        assert CLOCK.now_ns() < deadline_ns
        if link.wait(0):
            assert link.take() == UNSENT
            link.put(frame)
    identity, arrived = server.recv_multipart()
    assert arrived == frame
    return identity


def await_frame(link: IoProcessLink) -> bytes | None:
    assert link.wait(CLOCK.now_ns() + 20 * S)
    return link.take()


def test_frames_travel_both_ways_whole(link: IoProcessLink, server: "zmq.Socket[bytes]") -> None:
    identity = deliver(link, server, b"first")
    for size in (1, 200, 65536):
        server.send_multipart((identity, b"x" * size))
        assert await_frame(link) == b"x" * size
        link.put(b"y" * size)
        assert server.recv_multipart() == [identity, b"y" * size]
    link.require_alive()


def test_a_frame_that_cannot_leave_is_reported_and_gone(
    link: IoProcessLink, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str
) -> None:
    link.put(b"stale")
    assert await_frame(link) == UNSENT
    with closing(bind_router(context, endpoint)) as server:
        server.setsockopt(zmq.RCVTIMEO, 20_000)
        deliver(link, server, b"fresh")


def test_of_the_frames_that_waited_for_a_stopped_courier_the_newest_alone_is_sent(
    link: IoProcessLink, server: "zmq.Socket[bytes]"
) -> None:
    identity = deliver(link, server, b"first")
    os.kill(link.process.pid, signal.SIGSTOP)
    for number in range(50):
        link.put(b"%d" % number)
    link.touch()
    start_ns = CLOCK.now_ns()
    assert not link.wait(start_ns + S // 50)
    os.kill(link.process.pid, signal.SIGCONT)
    assert server.recv_multipart() == [identity, b"49"]
    server.send_multipart((identity, b"answer"))
    assert await_frame(link) == b"answer"
    assert not server.poll(20)


def test_a_stopped_courier_that_nobody_empties_never_blocks_the_robot(link: IoProcessLink) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)
    sent = [link.put(bytes(1000)) for _ in range(3000)]
    assert not all(sent)
    os.kill(link.process.pid, signal.SIGCONT)


def test_a_touch_reaches_no_server(link: IoProcessLink, server: "zmq.Socket[bytes]") -> None:
    deliver(link, server, b"first")
    for _ in range(10):
        link.touch()
    link.put(b"second")
    assert server.recv_multipart()[1] == b"second"


def test_an_empty_frame_of_a_server_is_no_death(link: IoProcessLink, server: "zmq.Socket[bytes]") -> None:
    identity = deliver(link, server, b"first")
    server.send_multipart((identity, b""))
    server.send_multipart((identity, b"answer"))
    assert await_frame(link) == b"answer"


def test_a_killed_courier_costs_each_wait_its_deadline_and_is_named_with_its_signal(link: IoProcessLink) -> None:
    link.process.kill()
    assert await_frame(link) is None
    deadline_ns = CLOCK.now_ns() + S // 100
    assert not link.wait(deadline_ns)
    assert CLOCK.now_ns() >= deadline_ns
    assert not link.wait(0)
    assert not link.put(b"x")
    with pytest.raises(WorkerError, match="its death by SIGKILL") as raised:
        link.require_alive()
    assert raised.value.where == f"I/O process {link.process.pid}"


def test_a_courier_killed_with_frames_that_it_had_not_taken_is_a_death_as_any_other(link: IoProcessLink) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)
    link.put(b"x")
    link.process.kill()
    assert await_frame(link) is None
    with pytest.raises(WorkerError):
        link.require_alive()


def test_an_endpoint_that_is_none_is_the_couriers_own_complaint() -> None:
    with pytest.raises(RelayedError, match="endpoint nowhere: expected ipc:///path or tcp://host:port"):
        IoProcessLink("nowhere", CLOCK)


def test_closing_sends_what_was_put_last_and_ends_the_courier(endpoint: str, server: "zmq.Socket[bytes]") -> None:
    link = IoProcessLink(endpoint, CLOCK)
    deliver(link, server, b"first")
    link.put(b"goodbye")
    link.close(linger_ms=5000)
    assert server.recv_multipart()[1] == b"goodbye"
    assert link.process.returncode == 0


def test_closing_ends_a_courier_that_hears_nothing(endpoint: str) -> None:
    link = IoProcessLink(endpoint, CLOCK)
    os.kill(link.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    link.close(linger_ms=100)
    assert link.process.returncode == -signal.SIGKILL
    assert time.monotonic() - start < 5


def test_a_sign_of_life_is_no_message() -> None:
    assert TOUCH != UNSENT
    assert {TOUCH[0], UNSENT[0]} == {0xC1}  # which MessagePack never uses
