"""Health over HTTP: live while the loop turns, ready while a robot can connect, in a separate process."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from odeploy_runtime.errors import RelayedError, UsageError
from odeploy_runtime.realtime.counters import SERVER, CounterNames, Counters
from odeploy_runtime.realtime.http_metrics import exposition, reported, status
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


def test_methods_other_than_get_are_not_supported(served: Counters, port: int) -> None:
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
