"""A killed robot, a killed or stopped writer process, a full disk: which rows of the trace remain."""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import OdeployError
from odeploy_runtime.safety.states import State
from odeploy_runtime.trace.format import APPLIED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.transport import messages
from tests.faults.children import child_of
from tests.faults.fault_table import Record
from tests.faults.promises import DUE, assert_kept
from tests.faults.scripted_server import scripted
from tests.integration.programs import started

S = 1_000_000_000
RATE_HZ = 10  # a rate that a very busy machine can hold


def still(_: messages.Observation) -> list[float]:
    return [0.0, 0.0]


class Driven:
    """Simulated robot in a separate process, with the trace that grows while it runs."""

    def __init__(self, folder: Path, endpoint: str, *options: str) -> None:
        self.path = folder / "t.trace"
        options = ("--endpoint", endpoint, "--trace", str(self.path), "--rate", str(RATE_HZ), *options)
        self.process = started("sim", "multigoal-2d", *options)

    def wait_rows(self, count: int) -> None:
        """Wait until the file has `count` rows; the episode is not over then."""
        deadline = time.monotonic() + 60
        while self._rows() < count:
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.02)

    def _rows(self) -> int:
        try:
            return len(read_trace(self.path).rows)
        except OdeployError:  # not there yet, or without a complete header
            return 0

    def writer_process(self) -> int:
        """Return the process id of the trace's writer process."""
        return child_of(self.process.pid, "odeploy_runtime.trace.writer_process")

    def end(self, status: int = 0) -> Trace:
        self.output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == status, self.output
        assert "Traceback" not in self.output
        trace = read_trace(self.path)
        assert_kept(trace)
        return trace


def endpoint_in(folder: Path) -> str:
    return f"ipc://{folder}/s.ipc"


@pytest.mark.fault(19)
def test_a_killed_robot_leaves_its_trace_up_to_the_last_tick_and_a_dump_of_the_last_seconds(
    tmp_path: Path, record_property: Record
) -> None:
    with scripted(endpoint_in(tmp_path), still) as server:
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1000")
        robot.wait_rows(15)
        robot.process.kill()
        killed_ns = time.monotonic_ns()
        output, _ = robot.process.communicate(timeout=30)  # ends with the writer process, which shares stdout
    trace = read_trace(robot.path)
    lost_ms = (killed_ns - int(trace.rows["stamps"][-1, DUE])) / 1e6
    assert lost_ms < 1000
    record_property("last row before the kill, ms (a tick is 100)", round(lost_ms))
    assert len(trace.rows) >= len(server.received) - 1
    assert "the last seconds before the death of the robot's process are in" in output
    kept = read_trace(tmp_path / "t.trace.fault-1")
    assert kept.header == trace.header
    np.testing.assert_array_equal(kept.rows, trace.rows[-len(kept.rows) :])


@pytest.mark.fault(19)
def test_a_kill_of_robot_and_writer_process_loses_at_most_a_second(
    tmp_path: Path, record_property: Record
) -> None:
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1000")
        robot.wait_rows(15)
        writer = robot.writer_process()
        os.kill(writer, signal.SIGKILL)
        robot.process.kill()
        killed_ns = time.monotonic_ns()
        robot.process.communicate(timeout=30)
    rows = read_trace(robot.path).rows
    lost_ms = (killed_ns - int(rows["stamps"][-1, DUE])) / 1e6
    assert lost_ms < 1000
    record_property("with the writer process killed too, ms", round(lost_ms))


@pytest.mark.fault(18)
@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.faults)])
def test_a_killed_or_stopped_writer_process_stops_no_tick_and_loses_no_row(
    tmp_path: Path, sent: signal.Signals, record_property: Record
) -> None:
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1")
        robot.wait_rows(10)
        os.kill(robot.writer_process(), sent)
        trace = robot.end()
    assert trace.lost == 0
    assert trace.rows["tick"].tolist() == list(range(len(trace.rows)))
    assert (trace.rows["kind"] == APPLIED).mean() > 0.5
    assert "the writer process: its death by SIGKILL" in robot.output
    record_property(f"rows lost, {sent.name}", trace.lost)


@pytest.mark.fault(18)
def test_a_full_disk_stops_no_tick_and_is_reported_in_one_line(tmp_path: Path) -> None:
    """A file-size limit on the writer process, the only one that writes, stands for a full disk."""
    with scripted(endpoint_in(tmp_path), still) as server:
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1")
        robot.wait_rows(5)
        room = robot.path.stat().st_size + 100
        resource.prlimit(robot.writer_process(), resource.RLIMIT_FSIZE, (room, room))
        trace = robot.end()
    assert 5 <= len(trace.rows) < len(server.received) - 5
    assert trace.rows["tick"].tolist() == list(range(len(trace.rows)))
    output = robot.output.replace("\n", " ")
    assert output.count("trace: File too large; the run goes on, rows from") == 1
    assert "rows are missing, and the file cannot record it" in output


@pytest.mark.faults
def test_a_transition_to_safe_dumps_the_seconds_before_it_with_the_offered_actions(tmp_path: Path) -> None:
    flights = tmp_path / "flights"

    def respond(observation: messages.Observation) -> list[float]:
        return [5.0 if observation.seq >= 15 else 0.5, 0.0]

    with scripted(endpoint_in(tmp_path), respond):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1", "--flight", str(flights))
        trace = robot.end()
    dumps = sorted(path.name for path in flights.iterdir())
    assert dumps[0] == "t.trace.fault-1"
    assert len(dumps) <= 2  # SAFE, and STOP a second later
    kept = read_trace(flights / "t.trace.fault-1")
    states = kept.rows["state"].tolist()
    assert State.SAFE in states
    assert State.RUN in states
    clamped = kept.rows[kept.rows["clamped"] == 1]
    assert set(clamped["offered"][:, 0]) == {5.0}
    assert set(clamped["action"][:, 0]) <= {1.0, 0.0}
    assert f"are in {flights}/t.trace.fault-1" in robot.output.replace("\n", "")
    np.testing.assert_array_equal(kept.rows, trace.rows[: len(kept.rows)])


@pytest.mark.faults
def test_a_run_without_a_fault_writes_its_trace_and_no_dump(tmp_path: Path) -> None:
    with scripted(endpoint_in(tmp_path), still):
        Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1").end()
    assert [path.name for path in tmp_path.glob("t.*")] == ["t.trace"]
