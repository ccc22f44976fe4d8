"""The local lane: whole frames, one user's, without waits."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import AddressError
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.lane"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    with lane.listen(path) as made:
        yield made


def accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.setblocking(False)
    return connection


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="odeploy-") as made:
        Path(made).chmod(0o777)
        yield Path(made)


@given(frames=st.lists(st.binary(min_size=1, max_size=300) | st.just(b"\0" * MAX_FRAME_BYTES), max_size=3))
def test_frames_arrive_whole_and_in_order(frames: list[bytes]) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        other.setblocking(False)
        for frame in frames:
            assert lane.send(one, frame)
        assert [lane.receive(other) for _ in frames] == frames
        assert lane.receive(other) is None


def test_the_file_is_accessible_to_this_user_alone(listener: socket.socket, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_frame_too_long_ends_the_lane(listener: socket.socket, path: Path) -> None:
    with lane.connect(path) as robot, accepted(listener) as server:
        assert lane.send(robot, b"x" * (MAX_FRAME_BYTES + 1))
        assert lane.receive(server) == b""


def test_an_end_is_read_after_the_frames_before_it(listener: socket.socket, path: Path) -> None:
    robot = lane.connect(path)
    with accepted(listener) as server:
        lane.send(robot, b"goodbye")
        robot.close()
        assert [lane.receive(server), lane.receive(server)] == [b"goodbye", b""]
        with pytest.raises(ConnectionError):
            lane.send(server, b"too late")


def test_a_full_queue_takes_no_frame_and_never_blocks(listener: socket.socket, path: Path) -> None:
    with lane.connect(path) as robot, accepted(listener) as server:
        sent = 0
        while lane.send(robot, b"x" * 100):
            sent += 1
        assert sent > 8
        assert lane.receive(server) == b"x" * 100
        assert lane.send(robot, b"room again")


def test_without_a_server_a_connection_fails_at_once(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lane.connect(path)
    lane.listen(path).close()
    with pytest.raises(ConnectionRefusedError):
        lane.connect(path)
    with pytest.raises(OSError, match="too long"):
        lane.connect(path.with_name("x" * 200))


def test_a_path_in_use_is_refused_and_a_left_over_one_is_reused(path: Path) -> None:
    with lane.listen(path), pytest.raises(AddressError, match="another server answers"):
        lane.listen(path)
    lane.listen(path).close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(AddressError, match="a file, which stays"):
        lane.listen(path)
    assert path.read_text() == "precious"


FOREIGN = f"""
import os, socket, sys
os.setuid({NOBODY})
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
sock.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_a_lane_of_another_user_is_not_used(shared: Path) -> None:
    command = [sys.executable, "-c", FOREIGN, str(shared / "s.lane")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as foreign:
        assert foreign.stdout is not None
        assert foreign.stdout.readline() == b"listening\n"
        with pytest.raises(PermissionError, match=f"user {NOBODY}'s"):
            lane.connect(shared / "s.lane")
        foreign.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_another_user_of_a_listener_is_recognised(shared: Path) -> None:
    path = shared / "s.lane"
    code = f"import os, socket, sys; os.setuid({NOBODY}); s = socket.socket(1, 5); s.connect(sys.argv[1])"
    with lane.listen(path) as listener:
        path.chmod(0o666)
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        with accepted(listener) as server, pytest.raises(PermissionError):
            lane.require_same_user(server)


def test_closing_the_listener_ends_a_lane_that_was_never_accepted(path: Path) -> None:
    with closing(lane.listen(path)):
        robot = lane.connect(path)
    with robot:
        assert lane.receive(robot) == b""
