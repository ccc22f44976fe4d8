"""A sweep in separate processes, on Ray, with trainings of seconds."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.programs import odeploy, started

SPEC = """
tasks = ["multigoal-2d"]
seeds = [0]
episodes = 4
[demos.multigoal-2d]
episodes = 4
[methods.BC]
verb = "bc"
options = { steps = 20, score_episodes = 0 }
[methods."BC again"]
verb = "bc"
options = { steps = 20, score_episodes = 0 }
[methods.PPO]
verb = "ppo"
demos = false
options = { steps = 6144, ticks = 64, workers = 0, score_every = 2048, score_episodes = 1 }
[methods.nonesuch]
verb = "nonesuch"
"""


def read(results: Path) -> dict[str, dict[str, object]]:
    return {line["method"]: line for line in map(json.loads, results.read_text().splitlines())}


def processes_of(folder: Path) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if f"--out {folder}" in line]


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_a_killed_sweep_leaves_no_process_running_and_resumes(tmp_path: Path) -> None:
    spec, results, out = tmp_path / "tiny.toml", tmp_path / "results.jsonl", tmp_path / "runs"
    spec.write_text(SPEC)
    command = ["sweep", str(spec), "--results", str(results), "--out", str(out), "--jobs", "2"]
    process = started(*command)
    deadline = time.monotonic() + 90
    while not list(out.glob("trained/ppo-*/checkpoint.pt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.05)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while processes_of(out):
        assert time.monotonic() < deadline, processes_of(out)
        time.sleep(0.1)

    again = odeploy(*command, timeout_s=120)
    assert again.returncode == 2  # because of the method that cannot run
    assert "multigoal-2d · nonesuch · seed 0: " in again.stdout
    assert "expected a verb, got train nonesuch; " in next(out.glob("trained/nonesuch-*.log")).read_text()
    measured = read(results)
    assert measured.keys() == {"BC", "BC again", "PPO"}
    assert measured["BC"]["scores"] == measured["BC again"]["scores"]
    assert len(list(out.glob("trained/bc-*/checkpoint.pt"))) == 1  # they share one training
    curve = measured["PPO"]["curve"]
    assert isinstance(curve, dict)
    assert curve["steps"] == sorted(set(curve["steps"]))
    assert curve["steps"][-1] >= 6144

    third = odeploy(*command, timeout_s=60)
    assert "4 runs, 3 of them finished before" in third.stdout


@pytest.mark.thorough
def test_an_address_without_a_cluster_is_refused_in_one_line(tmp_path: Path) -> None:
    spec = tmp_path / "tiny.toml"
    spec.write_text(SPEC)
    refused = odeploy("sweep", str(spec), "--out", str(tmp_path), "--address", "127.0.0.1:1", timeout_s=100)
    assert refused.returncode == 2
    assert refused.stderr.startswith("odeploy sweep: --address 127.0.0.1:1: ")
    assert "Traceback" not in refused.stderr
