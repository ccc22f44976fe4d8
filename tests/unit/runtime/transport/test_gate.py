"""The connection gate, around a socket in this process and a limit of its own."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.transport import gate as module
from odeploy_runtime.transport.gate import gate
from odeploy_runtime.transport.sockets import bind_router


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def test_the_socket_file_is_out_of_reach_while_descriptors_are_few(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    path, counters, free = tmp_path / "s.ipc", Counters(SERVER), 1000
    monkeypatch.setattr(module, "limit", lambda: module._open_descriptors() + free)
    monkeypatch.setattr(module, "reserve", lambda: 100)
    with bind_router(context, f"ipc://{path}"), gate(f"ipc://{path}", counters):
        with connected(path):
            time.sleep(0.02)
            assert path.exists()
        free = 99
        with connected(path):
            wait_until(lambda: not path.exists())
        wait_until(lambda: counters["endpoint_closed"] == 1)
        free = 163
        time.sleep(0.25)
        assert not path.exists()
        free = 164
        wait_until(lambda: counters["endpoint_closed"] == 0)
        connected(path).close()
        assert [file.name for file in tmp_path.iterdir()] == ["s.ipc"]
    assert logged[0].startswith("99 descriptors are left of ")
    assert logged[1].startswith("164 descriptors are free: ")


def test_a_closed_gate_puts_the_file_back_at_the_end_unless_another_server_is_there(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "reserve", lambda: 10**9)
    path = tmp_path / "s.ipc"
    with bind_router(context, f"ipc://{path}"):
        for other in (False, True):
            with gate(f"ipc://{path}", Counters(SERVER)):
                connected(path).close()
                wait_until(lambda: not path.exists())
                if other:
                    path.write_text("another server's")
            assert path.is_socket() is not other
    assert [file.name for file in tmp_path.iterdir()] == ["s.ipc"]


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "ipc://@odeploy-test"])
def test_an_endpoint_without_a_file_has_no_gate(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
    with bind_router(context, endpoint, insecure=True) as router:
        bound = router.getsockopt_string(zmq.LAST_ENDPOINT)
        with gate(bound, Counters(SERVER)):
            pass
