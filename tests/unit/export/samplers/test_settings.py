"""Settings of a search: all combinations of the axes that are possible for a policy."""

from collections.abc import Callable
from typing import Any

import pytest

from odeploy_export.kinds.table import deployed, kind_of
from odeploy_export.samplers.settings import Axes, Setting, settings
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from tests.best_of_n import best_of_diffusion, best_of_n
from tests.policies import flow_policy, student_policy

AXES = Axes(steps=(1, 5), candidates=(1, 4))


def made(policy: Any, axes: Axes = AXES) -> list[Setting]:
    return settings(policy, axes, 2, "run")


def test_a_flow_has_settings_for_every_noise_solver_and_number_of_steps() -> None:
    assert len(made(flow_policy(MAZE_MEDIUM), Axes())) == 2 * 3 * 4
    found = made(flow_policy(MAZE_MEDIUM))
    assert {s.candidates for s in found} == {1}
    assert {(s.solver, s.steps): s.evaluations for s in found if s.noise == "zero"} == {
        ("euler", 1): 1, ("euler", 5): 5, ("midpoint", 1): 2, ("midpoint", 5): 10, ("heun", 1): 2, ("heun", 5): 10,
    }  # fmt: skip


def test_several_candidates_need_critics_and_noise() -> None:
    found = made(best_of_n(MAZE_MEDIUM))
    assert len(found) == 3 * 2 * (1 + 2)
    assert {s.candidates for s in found if s.noise == "zero"} == {1}


def test_a_diffusion_has_only_its_ancestral_sampler() -> None:
    found = made(best_of_diffusion(MAZE_MEDIUM))
    assert {s.solver for s in found} == {"ddpm"}
    assert [s.sampler for s in found if s.noise == "normal"] == [
        "ddpm × 1", "ddpm × 5", "ddpm × 1, best of 4", "ddpm × 5, best of 4",
    ]  # fmt: skip


@pytest.mark.parametrize("make", [best_of_n, best_of_diffusion, flow_policy])
def test_the_options_of_a_setting_deploy_exactly_that_setting(make: Callable[[Task], Any]) -> None:
    policy = make(MAZE_MEDIUM)
    for setting in made(policy):
        deployment = deployed(policy, setting.sampler_options(kind_of(policy)), 2)
        sampler, noise = deployment.sampler, deployment.noise
        assert sampler is not None
        assert (sampler.solver, sampler.steps, sampler.candidates) == (
            setting.solver,
            setting.steps,
            setting.candidates,
        )
        assert noise.mode == setting.noise


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ContractError, match="run: expected a policy that samples its actions"):
        made(student_policy(MAZE_MEDIUM))
    with pytest.raises(UsageError, match="expected one of euler"):
        made(flow_policy(MAZE_MEDIUM), Axes(solver=("eular",)))
    with pytest.raises(UsageError, match="from 1 to 6, the steps that the diffusion was trained with"):
        made(best_of_diffusion(MAZE_MEDIUM), Axes(steps=(7,)))
    with pytest.raises(UsageError, match="expected at least one setting, got none for run"):
        made(best_of_n(MAZE_MEDIUM), Axes(noise=("zero",), candidates=(4,)))
