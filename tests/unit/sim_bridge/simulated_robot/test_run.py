"""A run of the simulated robot with a policy in the same process."""

import ast
import inspect
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.robot.options import Mode
from odeploy_runtime.robot.run import run
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.trace.format import Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import get
from odeploy_sim.experts.trained import trained
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.plant import SimulatedPlant
from odeploy_sim.simulated_robot.run import drive
from odeploy_sim.tasks.env import TaskEnv, episode_seed

TASK = replace(get("hopper"), horizon=15)
MS = 1_000_000


@pytest.fixture(scope="module")
def file() -> PolicyFile:
    path = trained(TASK)
    assert path is not None
    return read(path)


def driven(folder: Path, file: PolicyFile, mode: Mode = "lockstep", seed: int = 1) -> Trace:
    """Run two episodes; return their trace."""
    options = RunOptions(mode=mode, episodes=2, seed=seed, trace=folder / f"{mode}.trace")
    drive(TASK, file, options, file)
    return read_trace(options.trace)


def test_each_episode_begins_at_the_reset_of_its_number_and_reports_its_end(
    tmp_path: Path, file: PolicyFile
) -> None:
    ended: list[int] = []
    options = RunOptions(mode="lockstep", episodes=2, seed=7, trace=tmp_path / "t.trace")
    drive(TASK, file, options, file, ended=ended.append)
    rows, env = read_trace(options.trace).rows, TaskEnv(TASK)
    assert ended == [0, 1]
    for episode in range(2):
        first = rows[(rows["episode"] == episode) & (rows["tick"] == 0)][0]
        np.testing.assert_array_equal(first["observation"], env.reset(episode_seed(7, episode)))
    env.close()


def test_the_same_seed_gives_the_same_run_in_lockstep(tmp_path: Path, file: PolicyFile) -> None:
    (tmp_path / "again").mkdir()
    a, b = driven(tmp_path, file), driven(tmp_path / "again", file)
    for column in ("observation", "action", "reward", "kind", "end"):
        np.testing.assert_array_equal(a.rows[column], b.rows[column])
    assert (a.header.policy, a.header.fingerprint) == (file.manifest.name, file.fingerprint)


def test_a_simulated_run_is_a_run_of_its_plant_bit_for_bit(
    tmp_path: Path, file: PolicyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that stands still between sleeps, even the stamps are equal."""
    monkeypatch.setattr("odeploy_runtime.robot.run.MonotonicClock", lambda _: FakeClock())
    options = RunOptions(mode="lockstep", episodes=2, seed=3, trace=tmp_path / "sim.trace")
    drive(TASK, file, options, file)
    plant = SimulatedPlant(TaskEnv(TASK))
    trace = run(plant, file, mode="lockstep", episodes=2, seed=3, trace=tmp_path / "run.trace")
    plant.close()
    assert len(read_trace(trace).rows) == 2 * TASK.horizon
    assert trace.read_bytes() == options.trace.read_bytes()


def test_a_simulated_run_builds_no_part_of_the_loop() -> None:
    """Plant, deadline and score are its own; all else is `odeploy_runtime.robot.run`."""
    source = Path(inspect.getfile(drive)).read_text()
    imported = {
        f"{node.module}.{name.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if str(node.module).startswith("odeploy_runtime")
    }
    assert imported == {
        "odeploy_runtime.policy_file.file.PolicyFile",
        "odeploy_runtime.realtime.clock.MonotonicClock",  # times steps of the physics
        "odeploy_runtime.robot.run.Scoring",
        "odeploy_runtime.robot.run.run",
    }


def test_in_real_time_the_header_has_a_deadline_and_in_lockstep_none(tmp_path: Path, file: PolicyFile) -> None:
    assert driven(tmp_path, file).header.deadline_ns == 0
    paced = driven(tmp_path, file, "realtime").header
    assert 0 < paced.deadline_ns < 1e9 / TASK.rate_hz
    assert "garbage collector" in paced.obtained


def test_a_policy_files_tighter_limits_bound_the_commands(tmp_path: Path, file: PolicyFile) -> None:
    action = tuple(Signal(s.name, s.unit, -0.25, 0.25) for s in file.manifest.action)
    known = replace(file, manifest=replace(file.manifest, action=action))
    options = RunOptions(mode="lockstep", episodes=1, trace=tmp_path / "t.trace")
    drive(TASK, file, options, known)
    rows = read_trace(options.trace).rows
    assert np.abs(rows["action"]).max() == np.float32(0.25)
    assert rows["clamped"].any()


def test_transitions_to_worse_states_are_logged(
    tmp_path: Path, file: PolicyFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten clamped actions in a row lead to SAFE."""
    action = tuple(Signal(s.name, s.unit, -1e-3, 1e-3) for s in file.manifest.action)
    known = replace(file, manifest=replace(file.manifest, action=action))
    with caplog.at_level(logging.INFO, "odeploy_runtime"):
        drive(TASK, file, RunOptions(mode="lockstep", episodes=1, trace=tmp_path / "t.trace"), known)
    assert "RUN → SAFE 1 × because of limits" in caplog.messages
