"""The choice of a link: lane, ZeroMQ, or none."""

import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from odeploy_runtime.errors import AddressError, UnreachableError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.connect import Transport, connect
from odeploy_runtime.transport import lane
from odeploy_runtime.transport.keys import RobotKeys

CLOCK = MonotonicClock()


def answering(path: Path) -> socket.socket:
    """Listen where a server's ZeroMQ socket would be."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_a_server_with_a_lane_is_reached_by_it(tmp_path: Path) -> None:
    with answering(tmp_path / "s"), lane.listen(tmp_path / "s.lane"):
        choices: dict[Transport, str] = {"auto": "lane", "lane": "lane", "zmq": "zmq"}
        for transport, used in choices.items():
            with closing(connect(f"ipc://{tmp_path}/s", CLOCK, transport=transport)) as link:
                assert link.transport == used


def test_a_server_without_a_lane_is_reached_by_zeromq(tmp_path: Path) -> None:
    with answering(tmp_path / "s"):
        with closing(connect(f"ipc://{tmp_path}/s", CLOCK)) as link:
            assert link.transport == "zmq"
        with pytest.raises(UnreachableError):
            connect(f"ipc://{tmp_path}/s", CLOCK, transport="lane")


def test_a_server_that_starts_within_the_time_is_reached(tmp_path: Path) -> None:
    listeners: list[socket.socket] = []

    def start() -> None:
        time.sleep(0.05)
        listeners.append(lane.listen(tmp_path / "s.lane"))

    thread = threading.Thread(target=start)
    thread.start()
    with closing(connect(f"ipc://{tmp_path}/s", CLOCK, timeout_s=20)) as link:
        assert link.transport == "lane"
    thread.join()
    listeners[0].close()


def test_no_server_in_time_is_an_error_with_the_command_that_starts_one(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="odeploy serve FILE --endpoint ipc://"):
        connect(f"ipc://{tmp_path}/s", CLOCK, timeout_s=0.02)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:1", "ipc://@name"])
def test_a_lane_needs_a_path(endpoint: str) -> None:
    with closing(connect(endpoint, CLOCK)) as link:
        assert link.transport == "zmq"
    with pytest.raises(AddressError, match="got another address"):
        connect(endpoint, CLOCK, transport="lane")


def test_a_server_with_keys_has_no_lane(tmp_path: Path) -> None:
    keys = RobotKeys(tmp_path / "own", tmp_path / "server")
    with pytest.raises(AddressError, match="got keys"):
        connect(f"ipc://{tmp_path}/s", CLOCK, keys, transport="lane")
