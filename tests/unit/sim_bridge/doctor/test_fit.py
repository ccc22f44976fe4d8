"""A file's signals against the task's: one finding for each difference."""

import dataclasses
from typing import Any

import pytest

from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.doctor.fit import check_fit
from tests.unit.sim_bridge.doctor.function_policy import plain


def of_maze(**changes: Any) -> Manifest:
    task = MAZE_MEDIUM
    same: dict[str, Any] = {
        "task": task.name,
        "rate_hz": task.rate_hz,
        "observation": task.observation,
        "action": task.action,
    }
    return dataclasses.replace(plain(), **(same | changes))


def with_action(**changes: Any) -> Manifest:
    first, second = MAZE_MEDIUM.action
    return of_maze(action=(dataclasses.replace(first, **changes), second))


def test_a_file_of_the_task_has_no_finding() -> None:
    assert check_fit(of_maze(), MAZE_MEDIUM) == []


@pytest.mark.parametrize(
    ("file", "severity", "where", "fragment"),
    [
        (of_maze(action=MAZE_MEDIUM.action[::-1]), "error", "action, place 0", "same names, another order"),
        (of_maze(observation=MAZE_MEDIUM.observation[:-1]), "error", "observation", "unknown goal_y"),
        (with_action(unit="N"), "error", "action motor_x", "in N in the file, in 100 N in maze-medium"),
        (with_action(high=2.0), "error", "action motor_x", "[-1, 2] in the file, [-1, 1] in maze-medium"),
        (with_action(low=None), "error", "action motor_x", "[none, 1] in the file"),
        (with_action(high=0.5), "warning", "action motor_x", "[-1, 0.5] in the file"),
        (of_maze(rate_hz=50.0), "error", "file", "trained for 50 Hz, the task runs at 100 Hz"),
        (of_maze(task="maze-large"), "warning", "file", "maze-large"),
    ],
)
def test_each_difference_is_named(file: Manifest, severity: str, where: str, fragment: str) -> None:
    (finding,) = check_fit(file, MAZE_MEDIUM)
    assert (finding.severity, finding.where) == (severity, where)
    assert fragment in finding.seen


def test_other_limits_of_an_observation_are_a_warning() -> None:
    wider = Signal("ball_x", "m", -9.0, 9.0)
    (finding,) = check_fit(of_maze(observation=(wider, *MAZE_MEDIUM.observation[1:])), MAZE_MEDIUM)
    assert (finding.severity, finding.where) == ("warning", "observation ball_x")


def test_names_that_were_made_up_are_warned_about() -> None:
    signals = (Signal("obs_at_7", "1"), *MAZE_MEDIUM.observation[1:])
    task = dataclasses.replace(MAZE_MEDIUM, observation=signals)
    (finding,) = check_fit(of_maze(observation=signals), task)
    assert (finding.severity, finding.where) == ("warning", "obs_at_7")
    assert "odeploy tasks new" in finding.remedy
