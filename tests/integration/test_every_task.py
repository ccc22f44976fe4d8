"""Each catalogued task, served by a real server and driven through the loop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.robot.options import Mode
from odeploy_runtime.trace.format import APPLIED, SKIPPED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import TASKS, get
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.run import drive
from tests.policies import policy_path
from tests.thorough import mostly_thorough

TICKS = 50
KINDS = "maze-medium", "arm-track"


def driven(folder: Path, name: str, mode: Mode, rate_hz: float | None = None) -> Trace:
    """Return the trace of one episode of at most 50 ticks under a policy with random weights."""
    task = replace(get(name), horizon=TICKS)
    options = RunOptions(mode=mode, rate=rate_hz, episodes=1, trace=folder / "run.trace")
    with serving(policy_path(folder, task)) as endpoint:
        drive(task, endpoint, options)
    return read_trace(options.trace)


@pytest.mark.parametrize("name", mostly_thorough(dict.fromkeys([*KINDS, *TASKS]), len(KINDS)))
def test_every_task_is_served_and_driven_in_lockstep(tmp_path: Path, name: str) -> None:
    trace = driven(tmp_path, name, "lockstep")
    rows, task = trace.rows, get(name)
    assert 0 < len(rows) <= TICKS
    assert (rows["kind"] == APPLIED).all()
    assert rows["end"][-1] != 0  # truncated, or ended by the task
    assert trace.header.task == name
    assert np.isfinite(rows["observation"]).all()
    low, high = (np.array([getattr(s, end) for s in task.action], np.float32) for end in ("low", "high"))
    assert ((rows["action"] >= low) & (rows["action"] <= high)).all()
    assert np.ptp(rows["observation"], axis=0).any()  # something moved


@pytest.mark.parametrize("name", mostly_thorough(["reacher-easy", "halfcheetah", "fetch-pick"]))
def test_three_tasks_run_in_real_time(tmp_path: Path, name: str) -> None:
    trace = driven(tmp_path, name, "realtime")
    rows, task = trace.rows, get(name)
    assert (rows["tick"] == np.arange(len(rows))).all()
    assert (rows["kind"] != SKIPPED).sum() == TICKS  # the physics waits for its tick
    assert (np.diff(rows["stamps"][:, 0]) == round(1e9 / task.rate_hz)).all()
    assert (rows["kind"] == APPLIED).mean() > 0.5
