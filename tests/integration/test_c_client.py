"""The client in C: built, run against a server, and compared with the policy in this process."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.serving import serving
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.policies import policy_path

SOURCE = Path(__file__).parents[2] / "examples/c/client.c"

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("c") / "client"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", "-O2", *warnings, "-o", str(built), str(SOURCE)], check=True)
    return built


def test_the_client_in_c_gets_the_policys_actions(client: Path, tmp_path: Path) -> None:
    file = read(policy_path(tmp_path, MAZE_MEDIUM))
    names = ",".join(MAZE_MEDIUM.observation_names), ",".join(MAZE_MEDIUM.action_names)
    with serving(file.path, ["--provider", "cpu"]) as endpoint:
        path = endpoint.removeprefix("ipc://")
        run = [str(client), path, MAZE_MEDIUM.name, "50", "100", *names]
        lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
        refused = subprocess.run([*run[:5], "wrong", names[1]], capture_output=True, text=True, check=False)
    policy = load_policy(file, "cpu")
    noise = np.zeros(file.manifest.noise.shape, np.float32)
    expected = policy.infer(np.zeros(len(MAZE_MEDIUM.observation), np.float32), noise)[0]
    actions = [line.partition(": ")[2] for line in lines if not line.endswith(": hold")]
    assert len(actions) > 50
    for action in actions:
        np.testing.assert_allclose(np.array(action.split(), float), expected, rtol=1e-5, atol=1e-6)
    assert refused.returncode == 1
    assert "refused: " in refused.stderr


def test_the_client_in_c_comes_back_after_a_restart_of_the_server(client: Path, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    names = ",".join(MAZE_MEDIUM.observation_names), ",".join(MAZE_MEDIUM.action_names)
    run = [str(client), str(tmp_path / "link"), MAZE_MEDIUM.name, "50", "1000000", *names]
    with subprocess.Popen(["stdbuf", "-oL", *run], stdout=subprocess.PIPE, text=True) as robot:
        assert robot.stdout is not None
        for _ in range(2):
            with serving(file) as endpoint:
                (tmp_path / "link.lane").unlink(missing_ok=True)
                (tmp_path / "link.lane").symlink_to(endpoint.removeprefix("ipc://") + ".lane")
                while "hold" in robot.stdout.readline():
                    pass
            while "hold" not in robot.stdout.readline():
                pass
        robot.kill()
