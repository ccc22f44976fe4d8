"""A server with another monotonic clock, as on another host or in a container's time namespace."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from odeploy_runtime.realtime.child_process import start
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.reports.latency import summary
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.faults.test_safety_states import Driven
from tests.policies import policy_path

AHEAD_S = 100_000
NAMESPACE = ["unshare", "--time", "--monotonic", str(AHEAD_S), "--fork", "--kill-child"]


def permitted() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run([*NAMESPACE, "true"], check=False).returncode


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    if not permitted():
        pytest.skip("no time namespace: unshare --time is not permitted")
    socket, log = tmp_path / "s.ipc", tmp_path / "s.log"
    policy = str(policy_path(tmp_path, MULTIGOAL))
    command = [*NAMESPACE, sys.executable, "-P", "-m", "odeploy", "serve", policy, "--endpoint", f"ipc://{socket}"]
    with log.open("wb") as output:
        server = start(command, stdout=output, stderr=output)
    try:
        wait_bound(socket, server, log)
        yield f"ipc://{socket}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.fault(40)
@pytest.mark.parametrize("mode", ["realtime", "stream"])
def test_stages_of_two_clocks_are_left_out_and_one_line_says_so(endpoint: str, tmp_path: Path, mode: str) -> None:
    robot = Driven(tmp_path, endpoint, "--mode", mode, "--episodes", "1", rate_hz=50)
    figures = summary(robot.end())
    assert figures.two_clocks == (mode == "realtime")  # no row of a stream has the server's stamps
    assert max(figures.stages_p50_us.values(), default=0.0) < AHEAD_S / 2 * 1e6
    assert figures.applied > 0
    assert robot.output.count("robot and server have different clocks: the stages of the wire are left out") == 1
