"""The I/O process: for any fault of it, the robot's waits are bounded and frames stay complete."""

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
    """Put a frame until it arrives, since the I/O process connects asynchronously; return its identity."""
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


def test_frames_arrive_complete_in_both_directions(link: IoProcessLink, server: "zmq.Socket[bytes]") -> None:
    identity = deliver(link, server, b"first")
    for size in (1, 200, 65536):
        server.send_multipart((identity, b"x" * size))
        assert await_frame(link) == b"x" * size
        link.put(b"y" * size)
        assert server.recv_multipart() == [identity, b"y" * size]
    link.require_alive()


def test_a_frame_that_cannot_be_sent_is_reported_and_dropped(
    link: IoProcessLink, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str
) -> None:
    link.put(b"stale")
    assert await_frame(link) == UNSENT
    with closing(bind_router(context, endpoint)) as server:
        server.setsockopt(zmq.RCVTIMEO, 20_000)
        deliver(link, server, b"fresh")


def test_only_the_newest_frame_that_waited_for_a_stopped_io_process_is_sent(
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


def test_a_stopped_io_process_does_not_block_the_robot(link: IoProcessLink) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)
    sent = [link.put(bytes(1000)) for _ in range(3000)]
    assert not all(sent)
    os.kill(link.process.pid, signal.SIGCONT)


def test_a_pre_touch_frame_is_not_sent_to_the_server(link: IoProcessLink, server: "zmq.Socket[bytes]") -> None:
    deliver(link, server, b"first")
    for _ in range(10):
        link.touch()
    link.put(b"second")
    assert server.recv_multipart()[1] == b"second"


def test_an_empty_frame_from_a_server_does_not_count_as_the_processs_end(
    link: IoProcessLink, server: "zmq.Socket[bytes]"
) -> None:
    identity = deliver(link, server, b"first")
    server.send_multipart((identity, b""))
    server.send_multipart((identity, b"answer"))
    assert await_frame(link) == b"answer"


def test_with_a_killed_io_process_each_wait_ends_at_its_deadline_and_the_error_names_the_signal(
    link: IoProcessLink,
) -> None:
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


def test_an_io_process_killed_with_unread_frames_is_detected_too(link: IoProcessLink) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)
    link.put(b"x")
    link.process.kill()
    assert await_frame(link) is None
    with pytest.raises(WorkerError):
        link.require_alive()


def test_an_invalid_endpoint_is_reported_by_the_io_process() -> None:
    with pytest.raises(RelayedError, match="endpoint nowhere: expected ipc:///path or tcp://host:port"):
        IoProcessLink("nowhere", CLOCK)


def test_closing_sends_the_last_frame_and_ends_the_io_process(endpoint: str, server: "zmq.Socket[bytes]") -> None:
    link = IoProcessLink(endpoint, CLOCK)
    deliver(link, server, b"first")
    link.put(b"goodbye")
    link.close(linger_ms=5000)
    assert server.recv_multipart()[1] == b"goodbye"
    assert link.process.returncode == 0


def test_closing_ends_a_stopped_io_process(endpoint: str) -> None:
    link = IoProcessLink(endpoint, CLOCK)
    os.kill(link.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    link.close(linger_ms=100)
    assert link.process.returncode == -signal.SIGKILL
    assert time.monotonic() - start < 5


def test_control_frames_are_no_messages() -> None:
    assert TOUCH != UNSENT
    assert {TOUCH[0], UNSENT[0]} == {0xC1}  # never used by MessagePack
