"""A loop for minutes or hours: a row for every tick, misses, and memory growth.

    python -m tests.timing.soak --rate 1000 --seconds 600 --in-process
    python -m tests.timing.soak --rate 100 --seconds 3600

Server, robot, its I/O process and the trace's writer process run as in production. On the same cores at the same
time, a probe only wakes up at the same rate (`tests/timing/wakeups.py`). Ticks at which the probe wakes after the
robot's deadline are ticks that no program could have met. Memory is each process's RSS, read every second; the
first tenth of the time, in which buffers are first used, is left out.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.clock import steal_ticks
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.statistics import percentiles_us
from odeploy_runtime.trace.format import Trace
from odeploy_runtime.trace.reader import read_trace
from tests.faults.children import child_of
from tests.faults.promises import assert_kept
from tests.policies import policy_bytes

_MIB = 1024.0


@dataclass(frozen=True)
class Config(RealTimeOptions):
    """Options of a long run."""

    rate: float = 1000.0
    """Control rate [Hz]."""
    seconds: float = 600.0
    """Duration [s]."""
    task: str = "multigoal-2d"
    """Task to simulate; its physics step must be short enough for the rate."""
    courier: bool = True
    """See `odeploy sim`."""
    in_process: bool = False
    """See `odeploy sim`; without a server."""
    spin_us: float = 0.0
    """See `odeploy sim`."""


@dataclass
class Memory:
    """Resident memory of processes [KiB], one value a second."""

    processes: dict[str, int]
    seen: dict[str, list[int]] = field(default_factory=dict)

    def sample(self) -> None:
        for name, pid in self.processes.items():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
            self.seen.setdefault(name, []).append(resident)

    def growth_mib(self, name: str) -> tuple[float, float]:
        """Return a process's memory after the first tenth of the time, and its largest growth after that."""
        settled = self.seen[name][len(self.seen[name]) // 10 :]
        return settled[0] / _MIB, (max(settled) - settled[0]) / _MIB


def main() -> None:
    """Run, and print a table."""
    config = tyro.cli(Config, prog="python -m tests.timing.soak")
    with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
        report(config, *soak(config, Path(folder)))


def soak(config: Config, folder: Path) -> tuple[Trace, NDArray[np.int64], Memory, float]:
    """Return the robot's trace, the probe's lateness [ns], memory, and stolen time [s]."""
    file, socket, trace, seen = (folder / name for name in ("p.onnx", "s.ipc", "t.trace", "late.npy"))
    file.write_bytes(policy_bytes(config.task, "mlp", width=256))
    serve = python_module("odeploy", "serve", str(file), "--endpoint", f"ipc://{socket}", *config.for_server())
    sim = python_module("odeploy", "sim", config.task, "--trace", str(trace))
    sim += ["--in-process", "--policy", str(file)] if config.in_process else ["--endpoint", f"ipc://{socket}"]
    sim += ["--rate", str(config.rate), "--episodes", "100000000", "--spin-us", str(config.spin_us)]
    sim += ["--courier" if config.courier else "--no-courier", *config.for_robot()]
    probe = [sys.executable, "-m", "tests.timing.wakeups", str(config.rate), str(config.priority or 0), str(seen)]
    with ExitStack() as stack:
        pids = {}
        if not config.in_process:
            server = stack.enter_context(child(serve, folder / "server.log"))
            wait_bound(socket, server, folder / "server.log")
            pids["server"] = server.pid
        log = (folder / "robot.log").open("wb")
        robot = subprocess.Popen(sim, stdout=log, stderr=subprocess.STDOUT)
        wait_bound(trace, robot, folder / "robot.log")
        time.sleep(3)  # its children are started, and the first episode has begun
        pids |= {"robot": robot.pid, "writer": child_of(robot.pid, "odeploy_runtime.trace.writer_process")}
        if config.courier and not config.in_process:
            pids["I/O process"] = child_of(robot.pid, "odeploy_runtime.transport.io_process")
        memory = Memory(pids)
        stolen = steal_ticks()
        with child(probe, folder / "probe.log") as prober:
            end = time.monotonic() + config.seconds
            while time.monotonic() < end:
                assert robot.poll() is None, (folder / "robot.log").read_text()
                memory.sample()
                time.sleep(1)
            robot.send_signal(signal.SIGINT)
            robot.wait(60)
            assert prober.poll() is None, (folder / "probe.log").read_text()
        stolen_s = (steal_ticks() - stolen) / 100
    return read_trace(trace), np.load(seen, allow_pickle=False), memory, stolen_s


def report(config: Config, trace: Trace, late_ns: NDArray[np.int64], memory: Memory, stolen_s: float) -> None:
    """Check that each due tick has its row and is safe, and print the figures."""
    assert_kept(trace)
    found, console = summary(trace), Console(width=110)
    where = " in process" if config.in_process else ""
    missed = (late_ns < 0) | (late_ns > trace.header.deadline_ns)
    table = Table(
        "",
        "loop",
        "probe",
        title=f"{config.task}{where} at {config.rate:g} Hz for {config.seconds:g} s, {machine_line()}",
    )
    table.add_row("ticks due", f"{found.ticks_due:,}", f"{len(late_ns):,}")
    table.add_row("  of them applied", f"{found.applied:,}", "")
    table.add_row("  held", f"{found.held:,} {json.dumps(found.held_by_cause)}", "")
    table.add_row("  skipped", f"{found.skipped:,}", f"{int((late_ns < 0).sum()):,}")
    table.add_row("rows lost", f"{found.lost_rows}", "")
    table.add_row("deadline after due, µs", f"{trace.header.deadline_ns / 1e3:.0f}", "the same")
    share = found.misses / found.ticks_due, missed.mean()
    table.add_row("missed", f"{found.misses:,}, {share[0]:.4%}", f"{int(missed.sum()):,}, {share[1]:.4%}")
    table.add_row("longest run of misses", f"{found.longest_miss_run}", "")
    table.add_row("lateness, µs", _spread(found.lateness_us), _spread(percentiles_us(late_ns[late_ns >= 0])))
    table.add_row("due to applied, µs", _spread(found.due_to_applied_us), "")
    table.add_row("round trip, µs", _spread(found.round_trip_us), "")
    for name in memory.processes:
        settled, grown = memory.growth_mib(name)
        table.add_row(f"memory of the {name}, MiB", f"{settled:.1f}, then +{grown:.2f} at most", "")
    table.add_row("stolen, s", f"{stolen_s:.1f}", "")
    table.add_row("obtained", ", ".join(f"{k}: {v}" for k, v in trace.header.obtained.items()), "")
    console.print(table)


def _spread(figures: dict[str, float | None]) -> str:
    return " / ".join(f"{name} {value:.0f}" for name, value in figures.items() if value is not None)


if __name__ == "__main__":
    main()
