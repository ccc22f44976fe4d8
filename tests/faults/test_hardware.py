"""A hardware arm, whose driver has its own thread and clock, and real servers beneath it."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.safety.operator_panel import send_word
from odeploy_runtime.safety.states import Cause, State
from odeploy_runtime.trace.format import APPLIED, SKIPPED, STAMPS
from odeploy_runtime.trace.reader import read_trace
from tests.faults.fault_table import Record
from tests.house.layout import ROOT
from tests.integration.test_examples import example

DRIVEN = """
import contextlib, sys
from pathlib import Path
import odeploy
from hardware_arm import Arm
endpoint, trace, panel = sys.argv[1:]
with contextlib.closing(Arm(ticks=1500)) as arm:
    odeploy.run(arm, endpoint, trace=trace, options=odeploy.LoopOptions(panel=Path(panel)))
"""


@pytest.mark.faults
@pytest.mark.fault(1)
def test_a_server_killed_beneath_a_hardware_arm_leads_to_hold_and_safe_and_the_operator_rearms(
    tmp_path: Path, record_property: Record
) -> None:
    policy, path, panel = tmp_path / "elbow.onnx", tmp_path / "s.ipc", tmp_path / "arm.panel"
    example("own_module.py", policy)
    log, trace = tmp_path / "server.log", tmp_path / "arm.trace"
    serve = python_module("odeploy", "serve", str(policy), "--endpoint", f"ipc://{path}")
    command = [sys.executable, "-c", DRIVEN, f"ipc://{path}", str(trace), str(panel)]
    with child(serve, log) as first:
        wait_bound(path, first, log)
        robot = subprocess.Popen(command, cwd=ROOT / "examples", stderr=subprocess.PIPE, text=True)
        while not panel.exists():
            assert robot.poll() is None, robot.communicate()[1]
            time.sleep(0.01)
        time.sleep(2)
        first.kill()
        killed_ns = time.monotonic_ns()
        first.wait()
    path.unlink(missing_ok=True)
    with child(serve, log) as second, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as operator:
        while not path.exists():  # the operator keeps the arm from STOP, 1 s after SAFE
            time.sleep(0.3)
            send_word(operator, "rearm", panel)
        wait_bound(path, second, log)
        bound_ns = time.monotonic_ns()
        for _ in range(5):  # the new session may need a moment
            time.sleep(0.3)
            send_word(operator, "rearm", panel)
        _, error = robot.communicate(timeout=60)
    assert robot.returncode == 0, error
    rows = read_trace(trace).rows
    rows = rows[rows["kind"] != SKIPPED]
    due = rows["stamps"][:, STAMPS.index("due")]
    before, after = rows[due < killed_ns], rows[due > bound_ns]
    silent = rows[(due > killed_ns) & (due < bound_ns)]
    assert (before["kind"] == APPLIED).mean() > 0.5
    order = [int((silent["state"] == state).argmax()) for state in (State.HOLD, State.SAFE)]
    assert set(silent["state"]) >= {State.HOLD, State.SAFE}
    assert order == sorted(order)
    assert (silent["action"][silent["state"] == State.SAFE] == 0).all()  # the arm's safe action
    assert State.STOP not in rows["state"]
    assert set(silent["cause"][silent["state"] == State.SAFE]) == {Cause.SILENCE}
    running = after[after["state"] == State.RUN]
    assert len(running) > 30
    assert (running["kind"] == APPLIED).all()
    record_property("a hardware arm at 100 Hz, HOLD before SAFE, ticks", order[1] - order[0])
