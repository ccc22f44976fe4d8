"""A server contacts no host and writes no file outside its folder, whatever ONNX Runtime would like to."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.policies import policy_path

pytestmark = [pytest.mark.faults, pytest.mark.fault(37)]
_WATCHED_S = 15.0  # the first look-up came within 12 s
_NETWORK = ["unshare", "--map-root-user", "--net"]
_FOREIGN = re.compile(r"socket\(AF_(?:INET|PACKET)|connect\(.*AF_INET|openat\(.*O_CREAT")


def test_a_server_in_an_empty_network_opens_no_connection_and_no_foreign_file(tmp_path: Path) -> None:
    if subprocess.run([*_NETWORK, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine grants no network namespace")
    home, folder, trace = tmp_path / "home", tmp_path / "served", tmp_path / "calls"
    home.mkdir()
    folder.mkdir()
    policy = policy_path(folder, MAZE_MEDIUM)
    serve = [sys.executable, "-B", "-m", "odeploy", "serve", str(policy), "--endpoint", f"ipc://{folder}/s"]
    traced = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=socket,connect,openat,sendto,sendmmsg"]
    command = [*_NETWORK, *(traced if shutil.which("strace") else []), *serve]
    # Every place where a program keeps its files is empty at first.
    own = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | own
    server = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "s").exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(_WATCHED_S)
        assert server.poll() is None
    finally:
        os.killpg(server.pid, 15)
        server.communicate(timeout=30)
    assert list(home.rglob("*")) == []  # what the native backend's compiler wrote is gone
    assert {path.name for path in folder.iterdir()} == {policy.name}
    if trace.exists():
        calls = [line for line in trace.read_text(errors="replace").splitlines() if _FOREIGN.search(line)]
        assert [line for line in calls if str(tmp_path) not in line and '"/dev/' not in line] == []
