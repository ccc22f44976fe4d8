"""Ctrl-C in every long-running verb: status 130, one line, traces kept, children ended, no partial output."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.integration.programs import odeploy, started
from tests.policies import policy_path

_MARK = "odeploy-interrupt-test"


def interrupted(process: "subprocess.Popen[str]", when: float, sent: int = signal.SIGINT) -> str:
    time.sleep(when)
    assert process.poll() is None, process.communicate()[0]
    process.send_signal(sent)
    start = time.monotonic()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert process.returncode == 130, output
    assert any(line.endswith(": interrupted") for line in output.splitlines()), output
    assert "Traceback" not in output
    return output


def wait_for(path: Path, process: "subprocess.Popen[str]", size: int = 1, since_ns: int = 0) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < size or path.stat().st_mtime_ns <= since_ns:
        assert time.monotonic() < deadline, f"{path} was not written"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def processes_with(mark: str) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if mark in line and "pytest" not in line]


def test_serve_ends_with_status_130_and_one_line(tmp_path: Path) -> None:
    socket = tmp_path / "s.ipc"
    process = started("serve", str(policy_path(tmp_path, MAZE_MEDIUM)), "--endpoint", f"ipc://{socket}")
    wait_for(socket, process, 0)
    interrupted(process, 0.2)


def test_sigterm_ends_serve_with_status_0(tmp_path: Path) -> None:
    socket = tmp_path / "s.ipc"
    process = started("serve", str(policy_path(tmp_path, MAZE_MEDIUM)), "--endpoint", f"ipc://{socket}")
    wait_for(socket, process, 0)
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, "interrupted" in output) == (0, False)


def test_sim_keeps_its_trace(tmp_path: Path) -> None:
    trace = tmp_path / "t.trace"
    with serving(policy_path(tmp_path, HOPPER)) as endpoint:
        process = started("sim", "hopper", "--endpoint", endpoint, "--episodes", "1000", "--trace", str(trace))
        wait_for(trace, process)
        interrupted(process, 1.5)
    rows = read_trace(trace).rows
    assert len(rows) > 50
    assert (rows["stamps"][:, 0] > 0).all()


def test_sim_ends_the_server_it_started(tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM).rename(tmp_path / f"{_MARK}-sim.onnx")
    trace = tmp_path / "t.trace"
    process = started("sim", "maze-medium", "--policy", str(file), "--episodes", "1000", "--trace", str(trace))
    wait_for(trace, process)
    interrupted(process, 0.5)
    assert not processes_with(f"{_MARK}-sim")


@pytest.mark.faults
def test_bench_ends_its_children_and_keeps_the_trace(tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM).rename(tmp_path / f"{_MARK}-bench.onnx")
    out = tmp_path / "bench"
    process = started("bench", str(file), "--task", "maze-medium", "--episodes", "1000", "--out", str(out))
    trace = out / f"{_MARK}-bench-100hz.trace"
    wait_for(trace, process)
    interrupted(process, 1.5)
    assert not processes_with(f"{_MARK}-bench")
    assert len(read_trace(trace).rows) > 20
    assert not (out / "bench.json").exists()


def test_collect_leaves_no_partial_dataset(tmp_path: Path) -> None:
    process = started("collect", "maze-medium", "--episodes", "100000", "--out", str(tmp_path / "d-v0"))
    interrupted(process, 2.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_training_keeps_a_checkpoint_and_resumes(tmp_path: Path) -> None:
    demos, run = tmp_path / "d-v0", tmp_path / "run"
    assert odeploy("collect", "maze-medium", "--episodes", "3", "--out", str(demos)).returncode == 0
    command = ["train", "fm-bc", "--task", "maze-medium", "--demos", str(demos), "--out", str(run)]
    process = started(*command, "--steps", "1000000", "--width", "16")
    wait_for(run / "checkpoint.pt", process)
    interrupted(process, 0)
    kept = (run / "checkpoint.pt").stat().st_mtime_ns
    process = started(*command, "--steps", "1000000", "--width", "16")
    wait_for(run / "checkpoint.pt", process, since_ns=kept)
    interrupted(process, 0)
    assert (run / "checkpoint.pt").stat().st_mtime_ns > kept
