"""Options of a simulated run."""

import dataclasses
from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_sim.simulated_robot.options import RunOptions


def test_a_robot_has_both_keys_or_none() -> None:
    key, server_key = Path("arm.key_secret"), Path("server.key")
    assert RunOptions().robot_keys() is None
    assert RunOptions(key=key, server_key=server_key).robot_keys() == RobotKeys(key, server_key)
    for options in (RunOptions(key=key), RunOptions(server_key=server_key)):
        with pytest.raises(UsageError, match="both, for a server that was started with --key"):
            options.robot_keys()


def test_a_run_refuses_a_rate_that_is_no_rate_and_options_of_another_mode() -> None:
    RunOptions().require_possible()
    with pytest.raises(UsageError, match="a positive number of Hz"):
        RunOptions(rate=0.0).require_possible()
    with pytest.raises(UsageError, match="it never sleeps"):
        RunOptions(mode="lockstep", spin_us=50).require_possible()


def test_the_help_begins_with_what_is_played() -> None:
    names = [field.name for field in dataclasses.fields(RunOptions)]
    assert names[:7] == ["mode", "rate", "episodes", "noise", "seed", "trace", "view"]
    assert RunOptions().robot.startswith("sim-")
