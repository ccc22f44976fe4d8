"""More than a server can do: streams beyond its capacity, connections beyond its descriptors."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import sqrt
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.errors import RefusedError
from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.faults.crowd import VALUES
from tests.faults.fault_table import Record
from tests.policies import policy_path

Context = zmq.Context[zmq.Socket[bytes]]
CLOCK = MonotonicClock()
MS = 1_000_000
HZ = 100.0


@pytest.fixture
def context() -> Iterator[Context]:
    with Context() as made:
        yield made
        made.destroy(linger=0)


@contextmanager
def served(folder: Path, *options: str, descriptors: int = 0) -> Iterator[str]:
    """Serve the maze; yield the endpoint, and require that the server lives at the end."""
    bound, log = folder / "s.ipc", folder / "s.log"
    command = python_module(
        "odeploy", "serve", str(policy_path(folder, MAZE_MEDIUM)), "--endpoint", f"ipc://{bound}", *options
    )
    if descriptors:
        command = ["bash", "-c", f'ulimit -n {descriptors}; exec "$@"', "bash", *command]
    with child(command, log) as process:
        wait_bound(bound, process, log)
        yield f"ipc://{bound}"
        assert process.poll() is None, log.read_text()
    assert "Traceback" not in log.read_text()


def robot(
    context: Context, endpoint: str, name: str = "arm", mode: str = "request", hz: float = HZ
) -> RobotClient:
    names = list(MAZE_MEDIUM.observation_names), list(MAZE_MEDIUM.action_names)
    hello = messages.Hello(messages.PROTOCOL, name, MAZE_MEDIUM.name, hz, 0, *names, mode=mode)
    return RobotClient(DealerLink(context, endpoint, CLOCK), hello, CLOCK, 20.0)


def missed(client: RobotClient, ticks: int) -> int:
    """Drive a robot at 100 Hz; return how many answers came after the next tick or never."""
    rate, late = Rate(HZ, CLOCK), 0
    for seq in range(ticks):
        tick = rate.wait()
        client.send(0, seq, VALUES)
        late += client.receive(0, seq, tick.due_ns + round(1e9 / HZ)) is None
    return late


def crowd(kind: str, endpoint: str, count: int, seconds: float, *hz: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.faults.crowd", kind, endpoint, str(count), str(seconds), *hz]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> dict[str, int]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    counts: dict[str, int] = json.loads(output)
    return counts


@pytest.mark.fault(28)
def test_a_stream_beyond_the_load_is_refused_with_both_figures(tmp_path: Path, context: Context) -> None:
    with served(tmp_path, "--max-load", "0.02") as endpoint:
        with pytest.raises(RefusedError, match=r"a load of at most 0\.02 of a core, got \d"):
            robot(context, endpoint, mode="stream", hz=1000.0)
        with closing(robot(context, endpoint, mode="request", hz=1000.0)) as client:
            missed(client, 5)


@pytest.mark.fault(28)
@pytest.mark.faults
@pytest.mark.parametrize("hz", ["10000", "50"])
def test_two_hundred_streams_leave_a_robot_undisturbed(
    tmp_path: Path, context: Context, record_property: Record, hz: str
) -> None:
    with served(tmp_path) as endpoint, closing(robot(context, endpoint)) as client:
        missed(client, 100)
        quiet = missed(client, 500)
        with crowd("streams", endpoint, 200, 7.0, hz) as hostile:
            missed(client, 150)  # the hostile process begins
            loaded = missed(client, 500)
            seen = result(hostile)
        after = missed(client, 300)
    quiet_rate = (quiet + after) / 800
    record_property(f"beside streams of {hz} Hz missed of 500 ticks", f"{loaded}, quiet {500 * quiet_rate:.1f}")
    record_property(f"admitted of 200 streams of {hz} Hz", seen["admitted"])
    assert seen["refusals"] > 200
    # As many as in the quiet runs, within three standard deviations of both counts.
    assert loaded - 500 * quiet_rate <= 3 * sqrt(loaded + 500 * quiet_rate) + 1


@pytest.mark.fault(29)
@pytest.mark.faults
def test_connections_beyond_the_descriptors_stop_no_robot(
    tmp_path: Path, context: Context, record_property: Record
) -> None:
    with served(tmp_path, descriptors=1024) as endpoint:
        with closing(robot(context, endpoint)) as client:
            quiet = missed(client, 200)
            crowds = [crowd("silent", endpoint, 1200, 6.0) for _ in range(2)]
            loaded = missed(client, 600)
            counts = [result(each) for each in crowds]
            assert client.drops.errors == 0  # it kept its session
            assert sum(each["refused"] for each in counts) > 0
            missed(client, 300)  # silent connections have 2 s
            with closing(robot(context, endpoint, "second")) as second:
                assert missed(second, 50) < 50
        log = (tmp_path / "s.log").read_text()
    assert "descriptors 1,024" in log
    assert "descriptors are left of 1024: no new connections" in log
    record_property("connections refused", f"{sum(each['refused'] for each in counts):,}")
    record_property("missed of 600 ticks", f"{loaded}, quiet {3 * quiet}")


@pytest.mark.fault(29)
@pytest.mark.faults
def test_connections_over_tcp_beyond_the_descriptors_stop_no_robot(tmp_path: Path, context: Context) -> None:
    command = python_module("odeploy", "serve", str(policy_path(tmp_path, MAZE_MEDIUM)))
    log, endpoint = tmp_path / "log", "tcp://127.0.0.1:39217"
    limited = ["bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *command, "--endpoint", endpoint]
    with child(limited, log) as process, closing(robot(context, endpoint)) as client:
        with crowd("silent", endpoint, 400, 4.0) as opener:
            assert missed(client, 400) < 400
            result(opener)
        missed(client, 250)
        with closing(robot(context, endpoint, "second")) as second:
            assert missed(second, 50) < 50
        assert process.poll() is None
