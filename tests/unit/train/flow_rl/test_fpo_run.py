"""Options of `odeploy train fpo` and `fpo++`."""

from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import UsageError
from odeploy_train.flow_rl import fpo_run
from odeploy_train.flow_rl.fpo import fpo
from odeploy_train.flow_rl.fpo_run import Config, actor
from odeploy_train.policies.flow import FlowConfig

SIZES = FlowConfig(11, 3, 16, 2)


def test_draws_are_at_the_rollouts_times_or_continuous() -> None:
    config = Config("hopper", Path("unused"), solver_steps=4)
    generator = torch.Generator()
    assert actor(fpo, config, SIZES, generator).draws.times == (0.0, 0.25, 0.5, 0.75)
    anywhere = Config("hopper", Path("unused"), times="continuous", time_margin=0.1)
    draws = actor(fpo, anywhere, SIZES, generator).draws
    assert (draws.times, draws.margin) == (None, 0.1)


@pytest.mark.parametrize(("option", "value"), [("time-margin", "0.5"), ("perturbation", "-0.1")])
def test_an_invalid_number_is_refused_by_its_option(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected at least 0 and below .* got {value}"):
        fpo_run.main_plus_plus(["--task", "hopper", "--out", str(tmp_path), f"--{option}", value])


def test_zero_draws_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--draws: expected a number above 0"):
        fpo_run.main(["--task", "hopper", "--out", str(tmp_path), "--draws", "0"])
