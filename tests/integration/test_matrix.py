"""The wheel with only the extra `cpu` in a fresh environment, as on a robot. `make matrix` runs it.

Packages come from pip's cache, the first time from its index.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odeploy_sim.catalogue import get
from tests.integration.wheel import built
from tests.policies import policy_bytes

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]
NOT_ON_A_ROBOT = {"torch", "onnx", "onnxscript", "mujoco", "gymnasium", "minari", "matplotlib", "pyarrow", "ray"}
TASK = get("maze-medium")


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` folder of the environment."""
    folder = tmp_path_factory.mktemp("robot")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, f"{built(tmp_path_factory.mktemp('wheel'))}[cpu]"], check=True, timeout=500)
    return folder / "bin"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.onnx"
    path.write_bytes(policy_bytes(TASK.name, "flow"))
    return path


def odeploy(robot: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb in the robot's environment."""
    command = [str(robot / "odeploy"), *arguments]
    environment = {"PATH": str(robot)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_neither_torch_nor_a_simulator_is_installed(robot: Path) -> None:
    listed = subprocess.run(
        [str(robot / "pip"), "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert {"odeploy", "onnxruntime", "numpy"} <= installed
    assert installed & NOT_ON_A_ROBOT == set()


def test_a_policy_file_is_inspected_and_verified(robot: Path, file: Path) -> None:
    inspected = odeploy(robot, "inspect", str(file))
    assert inspected.returncode == 0, inspected.stderr
    assert "test-flow" in inspected.stdout
    verified = odeploy(robot, "verify", str(file))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_server_is_ready_and_its_health_is_read(robot: Path, file: Path, tmp_path: Path) -> None:
    socket, log = tmp_path / "server.ipc", tmp_path / "server.log"
    command = [str(robot / "odeploy"), "serve", str(file), "--endpoint", f"ipc://{socket}"]
    with log.open("w") as output:
        server = subprocess.Popen(command, env={"PATH": str(robot)}, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        health = odeploy(robot, "health", f"ipc://{socket}")
        assert health.returncode == 0, health.stdout + health.stderr
        assert "test-flow" in health.stdout
    finally:
        server.terminate()
        assert server.wait(10) == 130  # SIGTERM ends a verb as Ctrl-C does


@pytest.mark.parametrize(
    "verb", [["sim", "maze-medium"], ["train", "ppo"], ["export", "run"], ["report", "bench"]]
)
def test_a_verb_of_another_extra_names_it_in_one_line(robot: Path, verb: list[str]) -> None:
    ended = odeploy(robot, *verb)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "is missing; run: pip install 'odeploy[" in ended.stderr
