"""Options of a loop: rates that are numbers, and options that exclude each other."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.robot.options import LoopOptions, Mode, require_rate


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_positive_and_finite(rate_hz: float) -> None:
    with pytest.raises(UsageError, match="a positive number of Hz"):
        require_rate(rate_hz)


def test_no_rate_and_a_positive_rate_are_accepted() -> None:
    require_rate(None)
    require_rate(0.5)


@pytest.mark.parametrize(
    ("options", "mode", "expected"),
    [
        (LoopOptions(dead_man=True), "realtime", "--panel PATH"),
        (LoopOptions(execute=2), "stream", "the server's clock decides when to answer"),
        (LoopOptions(spin_us=201), "realtime", "0 to 200"),
        (LoopOptions(priority=80), "lockstep", "it never sleeps"),
        (LoopOptions(priority=0), "realtime", "1 to 99"),
    ],
)
def test_options_that_no_run_can_satisfy_are_refused(options: LoopOptions, mode: Mode, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        options.require_possible_in(mode)


@pytest.mark.parametrize("mode", ["lockstep", "realtime", "stream"])
def test_the_defaults_suit_every_mode(mode: Mode) -> None:
    LoopOptions().require_possible_in(mode)
    LoopOptions(dead_man=True, panel=Path("p")).require_possible_in(mode)
