"""The installed wheel in a folder with files named like modules: none of them is imported by any process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from odeploy_sim.catalogue import get
from tests.integration.wheel import PACKAGES, built, names, sources
from tests.policies import policy_bytes

DECOYS = ("train", "export", "runtime", "sim_bridge", "numpy", "random", "pickle")
IMPORTED = ".imported"
TASK = get("maze-medium")
SPAWNING = """
from odeploy.main import main as odeploy
from odeploy.verbs import VERBS, Verb
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector

def main(_):
    envs = make_vector(get("maze-medium"), 2, workers=2)
    envs.reset()
    envs.close()
    print(len(envs.workers), "workers")

if __name__ == "__main__":
    VERBS["spawn"] = Verb("spawning", "sim", "start worker processes as training and sampler searches do")
    odeploy()
"""


@dataclass(frozen=True)
class Place:
    """A user's folder with decoys, and the wheel installed elsewhere."""

    folder: Path
    site: Path
    """Where the wheel is installed, the only entry of PYTHONPATH."""

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the installed console script."""
        return [sys.executable, str(self.site / "bin/odeploy"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment without this checkout."""
        return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"PYTHONPATH": str(self.site)}

    def run(self, *arguments: str) -> str:
        """Run a verb to its end; return what it printed."""
        return self.finish(self.command(*arguments))

    def finish(self, command: list[str]) -> str:
        """Run a command to its end; return what it printed."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def imported(self) -> list[str]:
        """Return the decoys that some process has imported."""
        return sorted(file.name for file in self.folder.glob(f"*{IMPORTED}"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True, timeout=100)
    return folder


@pytest.fixture
def place(site: Path, tmp_path: Path) -> Iterator[Place]:
    for name in DECOYS:
        (tmp_path / f"{name}.py").write_text(
            f"open(__file__ + {IMPORTED!r}, 'w').close()\nraise SystemExit('a decoy was imported')\n"
        )
    (tmp_path / "policy.onnx").write_bytes(policy_bytes(TASK.name))
    made = Place(tmp_path, site)
    yield made
    assert made.imported() == []


def test_the_wheel_holds_the_five_packages_whole_and_nothing_else(wheel: Path) -> None:
    files = names(wheel)
    tops = {file.split("/")[0] for file in files}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert len(tops) == len(PACKAGES) + 1
    assert {file for file in files if ".dist-info/" not in file} == sources()
    assert {f"{name}/py.typed" for name in PACKAGES} <= files


def test_modules_come_from_the_installed_wheel(place: Place) -> None:
    code = f"import {', '.join(PACKAGES)}\nfor m in ({', '.join(PACKAGES)}): print(m.__file__)"
    files = place.finish([sys.executable, "-P", "-c", code]).split()
    assert files == [str(place.site / name / "__init__.py") for name in PACKAGES]


def test_a_decoy_that_is_imported_leaves_its_mark(place: Place) -> None:
    code = "import random"
    ended = subprocess.run([sys.executable, "-c", code], cwd=place.folder, env=place.environment, check=False)
    assert ended.returncode == 1
    assert place.imported() == [f"random.py{IMPORTED}"]
    (place.folder / f"random.py{IMPORTED}").unlink()


def test_a_server_is_asked_swapped_and_driven(place: Place) -> None:
    socket, endpoint = place.folder / "server.ipc", "ipc://server.ipc"
    (place.folder / "next.onnx").write_bytes(policy_bytes(TASK.name, width=16))
    with (place.folder / "server.log").open("w") as log:
        command = place.command("serve", "policy.onnx", "--endpoint", endpoint)
        server = subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert server.poll() is None, (place.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        place.run("health", endpoint)
        place.run("swap", "next.onnx", "--server", endpoint)
        place.run("sim", TASK.name, "--endpoint", endpoint, "--episodes", "1", "--trace", "sim.trace")
        assert (place.folder / "sim.trace").stat().st_size > 0
    finally:
        server.terminate()
        server.wait(10)


def test_a_bench_and_its_children(place: Place) -> None:
    place.run("bench", "policy.onnx", "--task", TASK.name, "--episodes", "1", "--out", "bench")
    assert (place.folder / "bench/bench.json").exists()


def test_spawned_worker_processes(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    program = tmp_path_factory.mktemp("program") / "spawning.py"
    program.write_text(SPAWNING)
    assert place.finish([sys.executable, str(program), "spawn"]) == "2 workers\n"


def test_python_m_odeploy_takes_no_module_from_the_folder_either(place: Place) -> None:
    assert "test-mlp" in place.finish([sys.executable, "-m", "odeploy", "inspect", "policy.onnx"])
