"""Options of a run: both keys or none, and rates that are numbers."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_sim.simulated_robot.options import RunOptions, require_rate


def test_a_robot_has_both_keys_or_none() -> None:
    key, server_key = Path("arm.key_secret"), Path("server.key")
    assert RunOptions().robot_keys() is None
    assert RunOptions(key=key, server_key=server_key).robot_keys() == RobotKeys(key, server_key)
    for options in (RunOptions(key=key), RunOptions(server_key=server_key)):
        with pytest.raises(UsageError, match="both, for a server that was started with --key"):
            options.robot_keys()


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_positive_and_finite(rate_hz: float) -> None:
    with pytest.raises(UsageError, match="a positive number of Hz"):
        require_rate(rate_hz)


def test_no_rate_and_a_positive_rate_are_accepted() -> None:
    require_rate(None)
    require_rate(0.5)
    RunOptions().require_possible()
