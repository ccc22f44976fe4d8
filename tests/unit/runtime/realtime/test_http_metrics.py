"""Health over HTTP: live while the loop turns, ready while a robot can connect, in a separate process."""

import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from odeploy_runtime.errors import RelayedError, UsageError
from odeploy_runtime.realtime.counters import SERVER, CounterNames, Counters
from odeploy_runtime.realtime.http_metrics import Server, exposition, handler, reported, status
from odeploy_runtime.robot.counters import ROBOT
from odeploy_runtime.testing import FakeClock

S = 1_000_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    code, text = answer.status, answer.read().decode()
    connection.close()
    return code, text


@pytest.fixture
def counters(clock: FakeClock) -> Counters:
    made = Counters(SERVER)
    made.set("turned_ns", clock.ns)
    made.set("ready", 1)
    return made


def test_a_loop_that_turned_recently_is_live_and_ready(counters: Counters, clock: FakeClock) -> None:
    clock.ns += 2 * S
    assert status("/live", counters, clock) == status("/ready", counters, clock) == (200, "ok")


def test_a_loop_without_a_turn_for_two_seconds_is_neither_live_nor_ready(
    counters: Counters, clock: FakeClock
) -> None:
    clock.ns += 2 * S + 1
    for path in ("/live", "/ready"):
        assert status(path, counters, clock) == (503, "no iteration of the loop for 2.0 s")


def test_a_full_server_is_live_and_not_ready(counters: Counters, clock: FakeClock) -> None:
    counters.set("ready", 0)
    assert status("/live", counters, clock)[0] == 200
    assert status("/ready", counters, clock) == (
        503,
        "sessions, load or descriptors are at their limit, or streams miss their deadlines",
    )


@pytest.mark.parametrize("names", [SERVER, ROBOT])
def test_every_counter_is_in_the_exposition_under_its_name_with_its_value(
    names: CounterNames, clock: FakeClock
) -> None:
    """Parse the page with Prometheus' own parser."""
    counters = Counters(names)
    for number, name in enumerate(names.all, start=1):
        counters.set(name, number * S if name.endswith("_ns") else number)
    counters.set("turned_ns", clock.ns - S // 2)
    read = {
        (sample.name, sample.labels.get("kind", "")): sample.value
        for family in text_string_to_metric_families(exposition(counters, clock).decode())
        for sample in family.samples
    }
    for number, name in enumerate(names.all, start=1):
        if name == "turned_ns":
            continue
        family, _, label = name.replace("_ns", "_seconds").partition(":")
        suffix = "_total" if name in names.counters else ""
        assert read.pop((f"odeploy_{names.process}_{family}{suffix}", label)) == pytest.approx(number)
    assert read == {(f"odeploy_{names.process}_turned_seconds_ago", ""): 0.5}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(port: int) -> Iterator[Counters]:
    with reported(str(port), SERVER) as counters:
        yield counters


def test_a_separate_process_serves_the_counters_of_this_one(served: Counters, port: int) -> None:
    assert get(port, "/live")[0] == 503  # no turn yet
    served.set("turned_ns", time.monotonic_ns() + 60 * S)  # a request can be slow on a busy machine
    served.add("actions", 12_345)
    assert get(port, "/live") == (200, "ok\n")
    assert get(port, "/ready")[0] == 503
    assert "odeploy_server_actions_total 12345.0\n" in get(port, "/metrics")[1]


@pytest.mark.parametrize("path", ["/", "/metrics/../../etc/passwd", "/live?x=1", "/" + "x" * 10_000])
def test_every_other_path_is_not_found(served: Counters, port: int, path: str) -> None:
    assert get(port, path)[0] == 404


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics", "/elsewhere"])
def test_head_has_the_status_and_the_length_of_get_and_no_body(served: Counters, port: int, path: str) -> None:
    served.set("turned_ns", time.monotonic_ns() + 60 * S)
    answers = []
    for method in ("HEAD", "GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        answers.append((answer.status, len(answer.getheader("Content-Length", ""))))
        assert (answer.read() == b"") == (method == "HEAD")
        connection.close()
    assert answers[0] == answers[1]


def test_methods_other_than_get_and_head_are_not_supported(served: Counters, port: int) -> None:
    assert {get(port, "/live", method)[0] for method in ("POST", "PUT", "DELETE")} == {501}


def test_silent_connections_do_not_block_a_request(served: Counters, port: int) -> None:
    served.set("turned_ns", time.monotonic_ns() + 60 * S)
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert get(port, "/live")[0] == 200


def test_it_listens_on_loopback_by_default(served: Counters, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # free, as it would not be on 0.0.0.0


def test_an_address_in_use_is_an_error(served: Counters, port: int) -> None:
    with (
        pytest.raises(RelayedError, match=rf"--http 127.0.0.1:{port}: expected a free address"),
        reported(f"127.0.0.1:{port}", SERVER),
    ):
        pass


@pytest.mark.parametrize("address", ["", "x", "0", "65536", "-1", "localhost", "127.0.0.1:", "1.5"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected PORT or HOST:PORT"), reported(address, SERVER):
        pass


def test_it_ends_with_its_killed_server() -> None:
    port = free_port()
    code = f"""
import os, signal
from odeploy_runtime.realtime.counters import SERVER
from odeploy_runtime.realtime.http_metrics import reported
with reported("{port}", SERVER):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                again.bind(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.fault(33)
def test_connections_that_are_reset_leave_no_line() -> None:
    """Reset connections before, during and after a request, and send what is no HTTP."""
    port = free_port()
    code = f"""
import sys
from odeploy_runtime.realtime.counters import SERVER
from odeploy_runtime.realtime.http_metrics import reported
with reported("{port}", SERVER):
    print("bound", flush=True)
    sys.stdin.read()
"""
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "bound\n"
        for number in range(200):
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
                peer.sendall((b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x00\xff\r\n\r\n")[number % 4])
        assert get(port, "/metrics")[0] == 200
        _, errors = owner.communicate("", timeout=20)
    assert errors == ""


def test_a_defect_in_a_request_is_one_line_and_their_rate_is_limited(
    counters: Counters, clock: FakeClock, logged: list[str]
) -> None:
    with Server(("127.0.0.1", 0), handler(counters, clock), clock) as server:
        for _ in range(100):
            try:
                raise ZeroDivisionError("division by zero\nsecond line")
            except ZeroDivisionError:
                server.handle_error(None, None)
        assert logged == ["a request over HTTP failed: ZeroDivisionError: division by zero"] * 5
        clock.ns += 10 * S
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            server.handle_error(None, None)
        assert len(logged) == 5


@pytest.mark.fault(33)
def test_a_killed_process_is_started_again_and_both_are_logged(
    logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odeploy_runtime.realtime.http_metrics._LEAST_WAIT_S", 0.05)
    port, before = free_port(), child_processes()
    with reported(str(port), SERVER) as counters:
        counters.set("turned_ns", time.monotonic_ns() + 60 * S)
        counters.add("actions", 7)
        for _ in range(2):
            (child,) = child_processes() - before
            lines = len(logged)
            os.kill(child, signal.SIGKILL)
            wait_for(lambda lines=lines: len(logged) >= lines + 2)  # type: ignore[misc]
            assert get(port, "/live") == (200, "ok\n")
            assert "odeploy_server_actions_total 7.0\n" in get(port, "/metrics")[1]
    assert child_processes() == before
    lost = "the process for --http is lost: its death by SIGKILL; starting it again in"
    again = "the process for --http answers again"
    assert logged == [f"{lost} 0.05 s", again, f"{lost} 0.1 s", again]


def test_a_process_whose_address_is_taken_meanwhile_is_tried_again(
    logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odeploy_runtime.realtime.http_metrics._LEAST_WAIT_S", 0.3)
    port, before = free_port(), child_processes()
    with reported(str(port), SERVER):
        (child,) = child_processes() - before
        os.kill(child, signal.SIGKILL)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wait_for(lambda: bound(other, port))
            other.listen()
            wait_for(lambda: len(logged) >= 2)
        assert "expected a free address, got Address already in use" in logged[1]
        wait_for(lambda: logged[-1] == "the process for --http answers again")
    assert child_processes() == before


def child_processes() -> set[int]:
    """Return the child processes of all threads of this process."""
    lists = (task / "children" for task in Path("/proc/self/task").iterdir())
    return {int(pid) for each in lists if each.exists() for pid in each.read_text().split()}


def bound(taker: socket.socket, port: int) -> bool:
    try:
        taker.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
