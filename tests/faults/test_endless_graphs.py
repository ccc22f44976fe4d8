"""Graphs that do not end: refused at a time limit, and in service the server ends and is started again."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq

from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.endless import TRIGGER, endless_path
from tests.faults.fault_table import Record
from tests.integration.programs import started

CLOCK = MonotonicClock()
S = 1_000_000_000
UNIT = Path(__file__).parents[2] / "deploy" / "odeploy@.service"
HARMLESS = np.zeros(len(MAZE_MEDIUM.observation), np.float32)
ENDLESS = HARMLESS.copy()
ENDLESS[0] = TRIGGER + 1


def robot(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> RobotClient:
    names = list(MAZE_MEDIUM.observation_names), list(MAZE_MEDIUM.action_names)
    hello = messages.Hello(messages.PROTOCOL, "arm", MAZE_MEDIUM.name, 100.0, 0, *names)
    return RobotClient(DealerLink(context, endpoint, CLOCK), hello, CLOCK, 20.0)


def answered(client: RobotClient, seq: int, within_s: float = 10) -> bool:
    client.send(3, seq, messages.to_bytes(HARMLESS))
    return client.receive(3, seq, CLOCK.now_ns() + round(within_s * S)) is not None


@contextmanager
def serving(folder: Path, log: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = python_module("odeploy", "serve", str(endless_path(folder, always=False)))
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [*command, "--endpoint", f"ipc://{folder}/s.ipc"],
            stdout=output,
            stderr=output,
            env=os.environ | environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.fault(26)
@pytest.mark.parametrize("verb", ["serve", "verify"])
def test_a_graph_without_an_end_is_refused_with_one_line_at_the_limit(
    tmp_path: Path, verb: str, record_property: Record
) -> None:
    with started(verb, str(endless_path(tmp_path)), "--load-timeout", "1") as process:
        began = time.monotonic()
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, len(output.splitlines())) == (2, 1)
    assert f"odeploy {verb}: " in output
    assert "golden rows within 1 s, got no end" in output
    record_property(f"`{verb}` with a limit of 1 s ended after, s", round(time.monotonic() - began, 2))


@pytest.mark.fault(26)
@pytest.mark.faults
def test_sim_and_bench_end_with_the_servers_line(tmp_path: Path) -> None:
    file, out = str(endless_path(tmp_path)), str(tmp_path / "bench")
    runs = {
        "sim": started("sim", MAZE_MEDIUM.name, "--policy", file, "--trace", str(tmp_path / "t.trace")),
        "bench": started("bench", file, "--task", MAZE_MEDIUM.name, "--out", out),
    }
    for verb, process in runs.items():
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 2, output
        assert re.search(rf"odeploy {verb}: .*golden rows within 30 s, got no end", output)
        assert "Traceback" not in output


@pytest.mark.fault(26)
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_for_such_a_graph(tmp_path: Path, sent: int, status: int) -> None:
    with started("serve", str(endless_path(tmp_path)), "--endpoint", f"ipc://{tmp_path}/s") as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(sent)
        process.communicate(timeout=10)
    assert process.returncode == status


@pytest.mark.fault(27)
def test_a_signal_ends_a_server_whose_inference_hangs(tmp_path: Path, record_property: Record) -> None:
    log = tmp_path / "log"
    with serving(tmp_path, log) as process, zmq.Context() as context:
        with closing(robot(context, f"ipc://{tmp_path}/s.ipc")) as client:
            assert answered(client, 0)
            client.send(3, 17, messages.to_bytes(ENDLESS))
            time.sleep(0.2)
            began = time.monotonic()
            process.terminate()
            assert process.wait(10) == 70
            took = time.monotonic() - began
        context.destroy(linger=0)
    assert "0.5 s after a signal: observation of 'arm', episode 3, tick 17; exit with 70" in log.read_text()
    record_property("SIGTERM in a hanging inference: ended after, s", round(took, 2))


@pytest.mark.fault(27)
@pytest.mark.faults
def test_a_server_that_hangs_ends_and_a_manager_with_the_units_settings_serves_again(
    tmp_path: Path, record_property: Record
) -> None:
    unit = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line))
    assert (unit["Type"], unit["Restart"], unit["RestartSec"]) == ("notify", "on-failure", "100ms")
    log = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, zmq.Context() as context:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with serving(tmp_path, log, **told) as process:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            with closing(robot(context, f"ipc://{tmp_path}/s.ipc")) as client:
                assert answered(client, 0)
                began = time.monotonic()
                client.send(3, 17, messages.to_bytes(ENDLESS))
                assert process.wait(20) == 70
        ended = time.monotonic()
        time.sleep(0.1)
        with serving(tmp_path, log, **told) as process:
            with closing(robot(context, f"ipc://{tmp_path}/s.ipc")) as client:
                assert answered(client, 0)
                again = time.monotonic()
            process.terminate()
            assert process.wait(10) == 0
        context.destroy(linger=0)
        while manager.recv(100) != b"STOPPING=1":
            pass
    assert "for 2.0 s: observation of 'arm', episode 3, tick 17; exit with 70" in log.read_text()
    record_property("a hanging inference ended after, s", round(ended - began, 2))
    record_property("the file is served again after, s", round(again - began, 2))


@pytest.mark.fault(3, 27)
@pytest.mark.faults
def test_a_stop_of_the_whole_server_does_not_end_it(tmp_path: Path) -> None:
    with serving(tmp_path, tmp_path / "log") as process, zmq.Context() as context:
        with closing(robot(context, f"ipc://{tmp_path}/s.ipc")) as client:
            assert answered(client, 0)
            process.send_signal(signal.SIGSTOP)
            time.sleep(5)
            process.send_signal(signal.SIGCONT)
            assert answered(client, 1)
            time.sleep(1)
            assert process.poll() is None
        context.destroy(linger=0)
