"""Child processes and their folders: none remains, however their parent ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.faults.fault_table import Record
from tests.policies import policy_path

pytestmark = pytest.mark.faults


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes whose temporary files lie in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            if f"TMPDIR={folder}".encode() in environment.split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line]  # a zombie has none


def started(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "odeploy", *arguments],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files, in which sockets' paths stay within their limit."""
    return tmp_path_factory.mktemp("t")


def wait_for_child(folder: Path, module: str) -> None:
    deadline = time.monotonic() + 60
    while not any(module in line for line in processes_of(folder)):
        assert time.monotonic() < deadline, processes_of(folder)
        time.sleep(0.02)
    time.sleep(0.5)


def assert_nothing_left(folder: Path) -> float:
    began = time.monotonic()
    while processes_of(folder) or any(folder.glob("odeploy-*")):
        assert time.monotonic() - began < 10, (processes_of(folder), list(folder.glob("odeploy-*")))
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.fault(25)
@pytest.mark.parametrize("child", ["bench.echo_server", "odeploy sim"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_bench_leaves_no_process_and_no_folder(
    tmp_path: Path, short_folder: Path, sent: signal.Signals, child: str, record_property: Record
) -> None:
    file, folder = policy_path(tmp_path, MAZE_MEDIUM), short_folder
    out = str(tmp_path / "bench")
    bench = started(folder, "bench", str(file), "--task", "maze-medium", "--episodes", "1000", "--out", out)
    wait_for_child(folder, child)
    bench.send_signal(sent)
    assert bench.wait(15) == (-sent if sent == signal.SIGKILL else 130)
    record_property(f"{sent.name} in {child}: nothing left after, s", round(assert_nothing_left(folder), 2))


@pytest.mark.fault(25)
def test_a_killed_simulated_robot_takes_its_server_along(
    tmp_path: Path, short_folder: Path, record_property: Record
) -> None:
    file, folder, trace = policy_path(tmp_path, MAZE_MEDIUM), short_folder, tmp_path / "t.trace"
    arguments = "--policy", str(file), "--episodes", "1000", "--trace", str(trace)
    robot = started(folder, "sim", "maze-medium", *arguments)
    wait_for_child(folder, "odeploy serve")
    wait_for_child(folder, "writer_process")
    robot.kill()
    robot.wait()
    record_property("SIGKILL of sim: nothing left after, s", round(assert_nothing_left(folder), 2))
