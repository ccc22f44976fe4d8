"""A package that pip installs adds a task: every verb knows it by its name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_bad_input import assert_one_line

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "swing"
version = "1"

[project.entry-points."odeploy.tasks"]
swing-up = "swing:TASK"
"""
MODULE = """
import gymnasium
from odeploy import Signal, Task

TASK = Task(
    name="swing-up",
    observation=(Signal("cosine", "1"), Signal("sine", "1"), Signal("angular_velocity", "rad/s")),
    action=(Signal("torque", "N·m", -2.0, 2.0),),
    rate_hz=20.0,
    horizon=200,
    make=lambda **arguments: gymnasium.make("Pendulum-v1", **arguments),
)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the packages that pip installed there."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packages")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "swing.py").write_text(MODULE)
    alone = "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"
    command = [sys.executable, "-m", "pip", "install", *alone, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=100)
    return target


def odeploy(packages: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb to its end, with a folder of packages beside the environment's."""
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "odeploy", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_task_of_an_installed_package_is_listed_and_shown(installed: Path) -> None:
    listed = odeploy(installed, "tasks")
    assert listed.returncode == 0, listed.stderr
    assert "swing-up" in listed.stdout
    shown = odeploy(installed, "tasks", "swing-up")
    assert "angular_velocity" in shown.stdout, shown.stderr


def test_without_the_package_its_name_is_unknown(tmp_path: Path) -> None:
    assert_one_line(odeploy(tmp_path, "tasks", "swing-up"), "swing-up")
