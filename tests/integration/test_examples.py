"""The examples, run as a user runs them: each ends well, and does what it says."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.trace.format import APPLIED
from odeploy_runtime.trace.reader import read_trace
from tests.house.layout import ROOT

EXAMPLES = ROOT / "examples"


def example(name: str, *arguments: Path) -> str:
    """Run an example to its end; return what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elbow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy file of the example's own module."""
    path = tmp_path_factory.mktemp("elbow") / "elbow.onnx"
    printed = example("own_module.py", path)
    assert "served: [-1.5]" in printed  # -3 · 0.5 rad
    assert "in this process: [-1.5]" in printed
    return path


@pytest.fixture(scope="module")
def trace(elbow: Path) -> Path:
    """A trace of the hardware arm, driven by that file."""
    path = elbow.with_suffix(".trace")
    assert "last angle" in example("hardware_arm.py", elbow, path)
    return path


@pytest.mark.parametrize("name", sorted(file.name for file in EXAMPLES.glob("*.py")))
def test_an_example_fits_a_screen(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 40


def test_the_hardware_arm_is_driven_to_rest_in_the_real_loop(trace: Path) -> None:
    recorded = read_trace(trace)
    applied = recorded.rows[recorded.rows["kind"] == APPLIED]
    assert recorded.header.mode == "realtime"
    assert len(applied) > 30  # how many depends on the machine
    assert abs(applied["observation"][0, 0]) > 10 * abs(applied["observation"][-1, 0])


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
def test_a_trace_is_read_with_pandas(trace: Path) -> None:
    printed = example("trace_with_pandas.py", trace)
    assert "observation.elbow_angle" in printed
    assert "99%" in printed


def test_an_own_environment_goes_from_demonstrations_to_a_served_student(tmp_path: Path) -> None:
    assert "Quality(scored_by='return', value=-" in example("own_task.py", tmp_path)
    manifest = read(tmp_path / "student.onnx").manifest
    assert (manifest.task, manifest.action_names) == ("cart", ("push",))


def test_a_stable_baselines3_policy_drives_an_own_robot(tmp_path: Path) -> None:
    assert (
        float(example("sb3_policy.py", tmp_path).split()[-1]) > 5
    )  # ticks upright; few after so short a training
    assert read(tmp_path / "ppo.onnx").manifest.method == "ppo (stable-baselines3)"
