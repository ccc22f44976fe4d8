"""Options of `odeploy train fpo` and `fpo++`."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.flow_rl import fpo_run
from odeploy_train.flow_rl.fpo import FpoActor, fpo
from odeploy_train.flow_rl.fpo_run import Config, actor
from odeploy_train.flow_rl.run import start
from odeploy_train.policies.flow import FlowConfig

SIZES = FlowConfig(11, 3, 16, 2)


def test_draws_are_at_the_rollouts_times_or_continuous() -> None:
    config = Config("hopper", Path("unused"), solver_steps=4)
    generator = torch.Generator()
    assert actor(fpo, config, SIZES, generator).draws.times == (0.0, 0.25, 0.5, 0.75)
    anywhere = Config("hopper", Path("unused"), times="continuous", time_margin=0.1)
    draws = actor(fpo, anywhere, SIZES, generator).draws
    assert (draws.times, draws.margin) == (None, 0.1)


@pytest.mark.parametrize(
    ("option", "value"), [("time-margin", "0.5"), ("perturbation", "-0.1"), ("brownian", "-1")]
)
def test_an_invalid_number_is_refused_by_its_option(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected at least 0 and below .* got {value}"):
        fpo_run.main_plus_plus(["--task", "hopper", "--out", str(tmp_path), f"--{option}", value])


@pytest.mark.parametrize("zero", [True, False])
def test_with_a_zero_start_first_actions_are_the_bounded_noise(zero: bool) -> None:
    hopper = get("hopper")
    config = Config("hopper", Path("unused"), envs=2, zero_start=zero, action_scale=0.5, brownian=0.2)
    with closing(make_vector(hopper, 2, workers=0)) as envs:
        made = start(config, partial(actor, fpo), hopper, envs, FlowConfig(11, 3, 16, 2, squash=True))
    ours = made.ppo.actor
    assert isinstance(ours, FpoActor)
    assert ours.brownian == 0.2
    noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    unit = ours.act(torch.randn(2, 11), torch.Generator().manual_seed(0))
    assert torch.equal(unit, (0.5 * noise).tanh()) == zero
    assert Config("hopper", Path("unused")).zero_start
    assert fpo_run.PlusPlusConfig("hopper", Path("unused")).zero_start


def test_zero_draws_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--draws: expected a number above 0"):
        fpo_run.main(["--task", "hopper", "--out", str(tmp_path), "--draws", "0"])
