"""Killed robots, a thousand robots at once, a machine under full load, a user without privileges."""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.errors import RefusedError
from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.trace.format import APPLIED
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.faults.fault_table import Record
from tests.faults.many_robots import VALUES, robot
from tests.faults.promises import assert_kept
from tests.integration.programs import started
from tests.policies import policy_path

CLOCK = MonotonicClock()
S = 1_000_000_000
PR_CAPBSET_DROP, CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE = 24, 14, 23, 24


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a server of the maze; yield its endpoint and process id."""
    socket, log = folder / "s.ipc", folder / "s.log"
    command = python_module(
        "odeploy", "serve", str(policy_path(folder, MAZE_MEDIUM)), "--endpoint", f"ipc://{socket}"
    )
    with child(command, log) as process:
        wait_bound(socket, process, log)
        yield f"ipc://{socket}", process.pid
        assert process.poll() is None
    assert "Traceback" not in log.read_text()


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


@pytest.mark.fault(2)
def test_a_killed_robots_name_is_free_after_a_second_and_others_are_answered_each_tick(
    tmp_path: Path, record_property: Record
) -> None:
    trace = tmp_path / "t.trace"
    with served(tmp_path) as (endpoint, _), zmq.Context() as context:
        options = ["--endpoint", endpoint, "--robot", "arm", "--episodes", "1000", "--trace", str(trace)]
        victim = started("sim", "maze-medium", "--rate", "20", *options)
        with closing(robot(context, endpoint, "other")) as other:
            rate, seq, answered = Rate(50.0, CLOCK), 0, 0
            while not trace.exists() or seq < 100:
                assert victim.poll() is None, victim.communicate()[0]
                rate.wait()
                sent_ns, seq = other.send(0, seq, VALUES), seq + 1
                answered += other.receive(0, seq - 1, sent_ns + 10 * S) is not None
            with pytest.raises(RefusedError, match="in use"):
                robot(context, endpoint, "arm")
            victim.kill()
            killed_s = time.monotonic()
            victim.communicate()
            freed_s = None
            while freed_s is None:
                rate.wait()
                sent_ns, seq = other.send(0, seq, VALUES), seq + 1
                answered += other.receive(0, seq - 1, sent_ns + 10 * S) is not None
                try:
                    robot(context, endpoint, "arm").close()
                    freed_s = time.monotonic() - killed_s
                except RefusedError:
                    assert time.monotonic() < killed_s + 20
        assert answered + other.drops.errors >= seq  # after a second without messages, on a busy machine, an error
        assert answered > 0
        record_property("free after, s", round(freed_s, 2))
        context.destroy(linger=0)


@pytest.mark.fault(14)
@pytest.mark.parametrize("processes", [1, pytest.param(4, marks=pytest.mark.faults)])
def test_each_of_hundreds_of_robots_gets_an_action_or_an_error(
    tmp_path: Path, processes: int, record_property: Record
) -> None:
    each = 250
    with served(tmp_path) as (endpoint, pid):
        clients = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.many_robots", endpoint, str(i * each), str(each)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(processes)
        ]
        counts = [json.loads(client.communicate(timeout=110)[0]) for client in clients]
        resident = resident_mib(pid)
    assert sum(count["answered"] + count["refused"] for count in counts) == processes * each
    assert resident < 200
    record_property(
        f"{processes * each} robots connected within, s", round(max(c["connected_s"] for c in counts), 1)
    )
    record_property("server's MiB", round(resident))


@pytest.mark.faults
@pytest.mark.fault(21)
@pytest.mark.parametrize("options", [(), ("--priority", "80")])
def test_under_full_load_every_tick_has_a_row_and_every_command_is_safe(
    tmp_path: Path, options: tuple[str, ...], record_property: Record
) -> None:
    policy, trace = policy_path(tmp_path, MULTIGOAL), tmp_path / "t.trace"
    where = ["--policy", str(policy), "--trace", str(trace)]
    robot = started("sim", "multigoal-2d", "--rate", "100", "--episodes", "10", *where, *options)
    while not trace.exists():
        assert robot.poll() is None, robot.communicate()[0]
        time.sleep(0.01)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        output, _ = robot.communicate(timeout=100)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert robot.returncode == 0, output
    seen = read_trace(trace)
    assert_kept(seen)
    missed = 100 * float((seen.rows["kind"] != APPLIED).mean())
    record_property(f"not applied at 100 Hz, {seen.header.obtained['scheduling']}, %", round(missed, 1))


def without_privileges() -> None:
    """Drop, in a child before exec, the rights to lock memory and to raise a priority."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 and os.geteuid() == 0:
            raise OSError(ctypes.get_errno(), "prctl")
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NICE):
        resource.setrlimit(limit, (0, 0))


@pytest.mark.fault(22)
def test_without_privileges_a_robot_runs_and_reports_what_it_did_not_obtain(
    tmp_path: Path, record_property: Record
) -> None:
    policy, trace = policy_path(tmp_path, MULTIGOAL), tmp_path / "t.trace"
    command = [sys.executable, "-m", "odeploy", "sim", "multigoal-2d", "--policy", str(policy), "--rate", "25"]
    ended = subprocess.run(
        [*command, "--episodes", "1", "--trace", str(trace), "--priority", "80", "--core", "0", "--spin-us", "50"],
        preexec_fn=without_privileges,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    seen = read_trace(trace)
    assert_kept(seen)
    obtained = seen.header.obtained
    assert (seen.rows["kind"] == APPLIED).any()
    assert obtained["scheduling"] == "ordinary (FIFO 80 refused)"
    assert obtained["memory"] == "not locked (refused)"
    record_property("obtained", ", ".join(f"{name}: {what}" for name, what in obtained.items()))
