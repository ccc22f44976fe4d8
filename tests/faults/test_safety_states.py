"""Real processes that are killed, stopped, cut off or sent invalid data: the robot keeps ticking and stays safe.

The machine may be busy, so times are asserted only with generous bounds; the outcome of each tick is exact.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.serving import serving, wait_bound
from odeploy_runtime.safety.states import Cause, State
from odeploy_runtime.trace.format import APPLIED, ENDED, INVALID, SKIPPED, STAMPS, STOPPED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.transport import messages
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.faults.children import child_of
from tests.faults.fault_table import Record
from tests.faults.frame_proxy import proxied
from tests.faults.promises import applied_between, assert_kept, states
from tests.faults.scripted_server import scripted
from tests.integration.programs import started
from tests.policies import policy_path

S = 1_000_000_000
RATE_HZ = 25  # a rate that a busy machine can hold
T = S // RATE_HZ
ZERO = [0.0, 0.0]


def still(_: messages.Observation) -> list[float]:
    return ZERO


def endpoint_in(folder: Path) -> str:
    return f"ipc://{folder}/s.ipc"


class Driven:
    """Simulated robot in a separate process."""

    def __init__(self, folder: Path, endpoint: str, *options: str, rate_hz: int = RATE_HZ) -> None:
        self.path = folder / "t.trace"
        options = ("--endpoint", endpoint, "--trace", str(self.path), "--rate", str(rate_hz), *options)
        self.process = started("sim", "multigoal-2d", *options)

    def after_ticks(self, seconds: float) -> None:
        """Wait until the loop has run for `seconds`."""
        deadline, header = time.monotonic() + 30, 0
        while not 0 < header < self._written():
            header = header or self._written()
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)
        time.sleep(seconds)

    def _written(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def io_process(self) -> int:
        """Return the process id of its I/O process."""
        return child_of(self.process.pid, "odeploy_runtime.transport.io_process")

    def end(self, status: int = 0) -> Trace:
        """Wait for the end; check and return the trace."""
        self.output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == status, self.output
        assert "Traceback" not in self.output
        trace = read_trace(self.path)
        assert_kept(trace)
        return trace


@contextmanager
def served(policy: Path, socket: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server at a socket path that an earlier server may have used."""
    socket.unlink(missing_ok=True)
    log = socket.with_suffix(".log")
    command = python_module("odeploy", "serve", str(policy), "--endpoint", f"ipc://{socket}", *options)
    with child(command, log) as process:
        wait_bound(socket, process, log)
        yield process


def stopped_for(pid: int, seconds: float) -> tuple[int, int]:
    """Stop a process for `seconds`; return when it stopped and when it resumed [ns]."""
    os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    time.sleep(seconds)
    resumed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGCONT)
    return stopped_ns, resumed_ns


@pytest.mark.faults
@pytest.mark.fault(1)
@pytest.mark.parametrize("transport", ["lane", "zmq"])
def test_after_a_kill_of_the_server_the_robot_holds_then_is_safe_and_a_new_server_makes_it_run_again(
    tmp_path: Path, transport: str, record_property: Record
) -> None:
    policy, socket, rate_hz = policy_path(tmp_path, MULTIGOAL), tmp_path / "s.ipc", 100
    period_ns = S // rate_hz
    with served(policy, socket) as server:
        options = ("--episodes", "1000", "--transport", transport)
        robot = Driven(tmp_path, f"ipc://{socket}", *options, rate_hz=rate_hz)
        robot.after_ticks(0.7)
        server.kill()
        killed_ns = time.monotonic_ns()
        server.wait()
    with served(policy, socket):
        bound_ns = time.monotonic_ns() - (time.time_ns() - socket.stat().st_ctime_ns)
        time.sleep(3)
        robot.process.send_signal(signal.SIGINT)
        trace = robot.end(130)
    assert states(trace) >= {State.RUN, State.HOLD, State.SAFE}
    assert not applied_between(trace, killed_ns + period_ns, bound_ns)
    assert applied_between(trace, bound_ns, bound_ns + 3 * S) > 10
    arrived, due = trace.rows["stamps"][:, STAMPS.index("arrived")], trace.rows["stamps"][:, 0]
    first_ms = float(arrived[arrived > bound_ns].min() - bound_ns) / 1e6
    held = (due > killed_ns) & (trace.rows["state"] == State.HOLD)
    record_property(f"at 100 Hz over {transport}, first action after binding, ms", round(first_ms, 1))
    record_property("HOLD before SAFE, ticks", int(held[due < bound_ns].sum()))
    assert trace.header.transport == transport
    assert "'reconnects': " in robot.output
    assert "HOLD → SAFE" in robot.output


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    ("seconds", "transport"),
    [
        (0.3, "lane"),
        pytest.param(0.3, "zmq", marks=pytest.mark.faults),
        pytest.param(0.05, "lane", marks=pytest.mark.faults),
        pytest.param(5.0, "lane", marks=pytest.mark.faults),
        pytest.param(5.0, "zmq", marks=pytest.mark.faults),
    ],
)
def test_while_a_server_is_stopped_the_robot_holds_and_late_replies_are_dropped(
    tmp_path: Path, seconds: float, transport: str, record_property: Record
) -> None:
    policy, socket = policy_path(tmp_path, MULTIGOAL), tmp_path / "s.ipc"
    with served(policy, socket) as server:
        robot = Driven(tmp_path, f"ipc://{socket}", "--episodes", "1000", "--transport", transport)
        robot.after_ticks(0.7)
        stopped_ns, resumed_ns = stopped_for(server.pid, seconds)
        time.sleep(3)
        robot.process.send_signal(signal.SIGINT)
        trace = robot.end(130)
    rows, stamps = trace.rows, trace.rows["stamps"]
    arrived = stamps[(rows["kind"] == APPLIED) & (stamps[:, 0] > stopped_ns + T), STAMPS.index("arrived")]
    assert (arrived > resumed_ns).all()
    assert applied_between(trace, resumed_ns, resumed_ns + 3 * S) > 10
    assert State.SAFE in states(trace) or seconds < 0.2
    assert "'late': " in robot.output or seconds < 0.2
    due, ran = trace.rows["stamps"][:, 0], trace.rows["kind"] == APPLIED
    again_ns = int(due[ran & (due > resumed_ns - T)].min()) - resumed_ns
    record_property(
        f"after {seconds:g} s over {transport} RUN again within, ticks of 40 ms", max(0, math.ceil(again_ns / T))
    )


@pytest.mark.fault(4)
def test_a_stopped_robot_skips_its_ticks_and_replays_none(tmp_path: Path, record_property: Record) -> None:
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "1")
        robot.after_ticks(0.5)
        stopped_ns, resumed_ns = stopped_for(robot.process.pid, 0.6)
        trace = robot.end()
    rows, due = trace.rows, trace.rows["stamps"][:, 0]
    within = rows["kind"][(due > stopped_ns) & (due < resumed_ns - T)]
    assert (within == SKIPPED).sum() >= 12
    assert (np.diff(due) == T).all()
    record_property("of 15 ticks in a stop, skipped", int((within == SKIPPED).sum()))


@pytest.mark.fault(1)
@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.faults)])
def test_a_killed_or_stopped_io_process_stops_no_tick(tmp_path: Path, how: str) -> None:
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "2")
        robot.after_ticks(0.5)
        io_process = robot.io_process()
        if how == "killed":
            os.kill(io_process, signal.SIGKILL)
            began_ns, ended_ns = time.monotonic_ns(), time.monotonic_ns() + S
        else:
            began_ns, ended_ns = stopped_for(io_process, 0.3)
        trace = robot.end(2 if how == "killed" else 0)
    assert not applied_between(trace, began_ns + T, ended_ns)
    due, ran = trace.rows["stamps"][:, 0], trace.rows["kind"] != SKIPPED
    assert ran[(due > began_ns) & (due < ended_ns)].mean() > 0.5
    assert State.SAFE in states(trace)
    assert ("its death by SIGKILL" in robot.output) == (how == "killed")


@pytest.mark.faults
@pytest.mark.fault(5)
def test_lost_duplicated_reordered_or_delayed_replies_are_applied_at_most_once(
    tmp_path: Path, record_property: Record
) -> None:
    def fate(number: int, frame: bytes) -> list[tuple[float, bytes]]:
        if number < 10:
            return [(0, frame)]
        return {
            0: [],  # lost
            1: [(0, frame), (0, frame), (0.016, frame)],  # duplicated
            2: [(0.055, frame)],  # delayed past the next tick's reply: reordered
            3: [(0.1, frame)],  # older than 2 T
        }.get(number % 7, [(0, frame)])

    front, back = f"ipc://{tmp_path}/p.ipc", endpoint_in(tmp_path)
    with scripted(back, still), proxied(front, back) as proxy:
        proxy.replies = fate
        robot = Driven(tmp_path, front, "--episodes", "3")
        trace = robot.end()
        assert proxy.seen > 60
    assert {State.RUN, State.HOLD} <= states(trace)
    applied = trace.rows[trace.rows["kind"] == APPLIED]
    assert len(applied) / len(trace.rows) < 0.75
    assert "'late': " in robot.output
    record_property("ticks with an applied action", f"{len(applied)} of {len(trace.rows)}")
    record_property("oldest applied action, T", round(float(applied["age_ns"].max()) / T, 2))


@pytest.mark.faults
@pytest.mark.fault(6)
def test_requests_sent_during_an_outage_are_never_executed(tmp_path: Path, record_property: Record) -> None:
    endpoint = endpoint_in(tmp_path)
    with scripted(endpoint, still) as first:
        robot = Driven(tmp_path, endpoint, "--episodes", "3")
        robot.after_ticks(0.5)
    assert len(first.received) > 5
    time.sleep(0.5)
    bound_ns = time.monotonic_ns()
    with scripted(endpoint, still) as second:
        trace = robot.end()
    assert len(second.received) > 50
    stale = sum(observation.sent_ns <= bound_ns - T for _, observation in second.received)
    assert stale == 0
    record_property("stale requests executed", f"{stale} of {len(second.received)}")
    assert applied_between(trace, bound_ns, bound_ns + 60 * S) > 10


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("from_tick", "to_tick", "expected"),
    [(20, 22, {State.RUN, State.HOLD}), (20, 99, {State.RUN, State.HOLD, State.SAFE, State.STOP})],
)
def test_non_finite_actions_reach_no_actuator(
    tmp_path: Path, from_tick: int, to_tick: int, expected: set[State], record_property: Record
) -> None:
    endpoint = endpoint_in(tmp_path)

    def respond(observation: messages.Observation) -> list[float]:
        return [math.nan, 0.5] if from_tick <= observation.seq < to_tick else [0.5, 0.5]

    with scripted(endpoint, respond):
        trace = Driven(tmp_path, endpoint, "--episodes", "1", "--mode", "lockstep").end()
    assert states(trace) == expected
    rows = trace.rows
    assert set(rows["cause"][rows["kind"] != APPLIED]) == {Cause.NOT_FINITE}
    assert rows["state"][from_tick : from_tick + 3].tolist()[:2] == [State.HOLD] * 2
    if State.SAFE in expected:
        record_property("SAFE at NaN number", 1 + int((rows["state"] == State.SAFE).argmax()) - from_tick)


@pytest.mark.fault(8)
def test_actions_out_of_limits_are_clamped_and_counted_and_ten_in_a_row_lead_to_safe(
    tmp_path: Path, record_property: Record
) -> None:
    endpoint = endpoint_in(tmp_path)
    with scripted(endpoint, lambda observation: [5.0, 0.5] if observation.seq >= 10 else ZERO):
        trace = Driven(tmp_path, endpoint, "--episodes", "1", "--mode", "lockstep").end()
    rows = trace.rows
    np.testing.assert_array_equal(rows["action"][10:19], [[1.0, 0.5]] * 9)
    assert rows["clamped"].tolist()[10:20] == [1] * 10
    assert rows["state"][18:21].tolist() == [State.RUN, State.SAFE, State.SAFE]
    assert rows["cause"][19] == Cause.LIMITS
    record_property("SAFE at clamped action number", 1 + int((rows["state"] == State.SAFE).argmax()) - 10)
    assert (rows["state"][-1], rows["end"][-1]) == (State.STOP, ENDED)


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("sent", "times"),
    [(signal.SIGINT, 2), *(pytest.param(*p, marks=pytest.mark.faults) for p in ((2, 1), (15, 1), (15, 2)))],
)
def test_a_signal_commands_the_safe_action_closes_the_trace_and_ends_within_five_seconds(
    tmp_path: Path, sent: int, times: int, record_property: Record
) -> None:
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "100")
        robot.after_ticks(0.5)
        for _ in range(times):
            robot.process.send_signal(sent)
        start = time.monotonic()
        trace = robot.end(130)
        took_s = time.monotonic() - start
    assert took_s < 5
    record_property(f"{signal.Signals(sent).name} × {times}: ended after, s", round(took_s, 2))
    last = trace.rows[-1]
    assert (last["state"], last["cause"], last["end"]) == (State.STOP, Cause.OPERATOR, STOPPED)


def test_the_operators_stop_through_the_panel_ends_the_run(tmp_path: Path) -> None:
    panel = tmp_path / "arm.panel"
    with scripted(endpoint_in(tmp_path), still):
        robot = Driven(tmp_path, endpoint_in(tmp_path), "--episodes", "100", "--panel", str(panel))
        robot.after_ticks(0.5)
        code = f"from odeploy_runtime.cli.operate import main; main(['stop', {str(panel)!r}])"
        subprocess.run([sys.executable, "-c", code], check=True)
        trace = robot.end()
    assert trace.rows["end"][-1] == STOPPED
    assert "stopped by the operator in episode" in robot.output
    assert not panel.exists()


@pytest.mark.fault(24)
def test_a_broken_simulation_is_detected_and_its_episode_is_marked_invalid(tmp_path: Path) -> None:
    """A velocity becomes NaN, and MuJoCo resets state and time without an error."""
    path = tmp_path / "t.trace"
    code = """
import sys
from odeploy_sim.cli import sim
from odeploy_sim.tasks.env import TaskEnv
step, steps = TaskEnv.step, [0]
def broken(env, action):
    steps[0] += 1
    if steps[0] == 3:
        env._data.qvel[0] = float("nan")
    return step(env, action)
TaskEnv.step = broken
sim.main(sys.argv[1:])
"""
    with serving(policy_path(tmp_path, HOPPER)) as endpoint:
        options = ["--endpoint", endpoint, "--trace", str(path), "--episodes", "2", "--mode", "lockstep"]
        done = subprocess.run(
            [sys.executable, "-c", code, "hopper", *options], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    rows = read_trace(path).rows
    assert (rows["end"] == INVALID).sum() == 1
    assert rows["end"][rows["episode"] == 0][-1] == INVALID
    assert rows["end"][-1] == ENDED


CLOCK_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
static long shift(void) { static int n; return (n++ % 2) ? 3600 : -3600; }
int clock_gettime(clockid_t id, struct timespec *t) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += shift();
    return r;
}
time_t time(time_t *out) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *v, void *z) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
    v->tv_sec = t.tv_sec; v->tv_usec = t.tv_nsec / 1000; return 0;
}
"""


@pytest.mark.fault(20)
@pytest.mark.faults
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_wall_clock_that_jumps_by_an_hour_at_each_read_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shim.c").write_text(CLOCK_SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    reads = "import time; print(abs(time.time() - time.time()) > 3000)"
    assert subprocess.run([sys.executable, "-c", reads], capture_output=True, text=True).stdout == "True\n"
    with serving(policy_path(tmp_path, MULTIGOAL)) as endpoint:
        trace = Driven(tmp_path, endpoint, "--episodes", "1").end()
    assert (trace.rows["kind"] == APPLIED).mean() > 0.5
    assert (np.diff(trace.rows["stamps"][:, 0]) == T).all()
