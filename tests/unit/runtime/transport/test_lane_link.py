"""The robot's link over a lane: it never blocks, and comes back after a break."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.io_process import UNSENT
from odeploy_runtime.transport.lane_link import LaneLink

CLOCK = MonotonicClock()
S = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.lane"


@pytest.fixture
def link(path: Path) -> Iterator[LaneLink]:
    with closing(LaneLink(f"ipc://{path}", path, CLOCK)) as made:
        yield made


def accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.setblocking(False)
    return connection


def test_frames_travel_both_ways(link: LaneLink, path: Path) -> None:
    with lane.listen(path) as listener:
        assert link.put(b"question")
        with accepted(listener) as server:
            assert lane.receive(server) == b"question"
            assert not link.wait(0)
            lane.send(server, b"answer")
            assert link.wait(CLOCK.now_ns() + 5 * S)
            assert link.take() == b"answer"


def test_without_a_server_each_put_makes_one_attempt_and_a_wait_ends_at_its_deadline(
    link: LaneLink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Path] = []

    def refused(tried: Path) -> socket.socket:
        attempts.append(tried)
        raise ConnectionRefusedError

    monkeypatch.setattr(lane, "connect", refused)
    for _ in range(3):
        assert not link.put(b"x")
    assert attempts == [path] * 3
    deadline_ns = CLOCK.now_ns() + 2_000_000
    assert not link.wait(deadline_ns)
    assert CLOCK.now_ns() >= deadline_ns


def test_a_broken_lane_is_reported_as_unsent_and_connected_by_the_next_put(link: LaneLink, path: Path) -> None:
    with lane.listen(path) as listener:
        link.put(b"1")
        accepted(listener).close()
        assert link.wait(CLOCK.now_ns() + 5 * S)
        assert link.take() == UNSENT
        assert link.put(b"2")
        with accepted(listener) as server:
            assert lane.receive(server) == b"2"


def test_a_break_noticed_by_sending_costs_no_frame(link: LaneLink, path: Path) -> None:
    with lane.listen(path) as listener:
        link.put(b"1")
        accepted(listener).close()
        assert link.put(b"2")
        with accepted(listener) as server:
            assert lane.receive(server) == b"2"


@pytest.mark.parametrize("size", [20, 200, 511, 512, 3000, 60_000])
def test_a_server_that_reads_nothing_gets_few_stale_frames(link: LaneLink, path: Path, size: int) -> None:
    with lane.listen(path):
        link.put(b"h" * 5000)  # the handshake
        sent = 1
        while link.put(b"x" * size):
            sent += 1
        assert 1 < sent <= 24


def test_a_replaced_file_is_not_a_lane(link: LaneLink, path: Path) -> None:
    lane.listen(path).close()
    path.unlink()
    path.write_text("")
    assert not link.connect()
    assert not link.put(b"x")
    path.unlink()
    os.mkfifo(path)
    assert not link.put(b"x")


def test_a_stopped_server_blocks_no_call(link: LaneLink, path: Path) -> None:
    with lane.listen(path):
        began = time.monotonic()
        for _ in range(100):
            link.put(b"x" * 100)
            assert not link.wait(0)
            link.touch()
        link.close(linger_ms=100)
        assert time.monotonic() - began < 1  # of the 10 s that 100 blocking calls would take


def test_closing_delivers_what_was_sent(link: LaneLink, path: Path) -> None:
    with lane.listen(path) as listener:
        link.put(b"goodbye")
        link.close(linger_ms=100)
        with accepted(listener) as server:
            assert [lane.receive(server), lane.receive(server)] == [b"goodbye", b""]
