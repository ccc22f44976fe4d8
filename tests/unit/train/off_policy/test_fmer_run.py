"""`odeploy train fmer`: the best-of-N policy that it writes, and refused options."""

from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.modules.flow_paths import solve
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.off_policy import fmer_run
from odeploy_train.off_policy.core import OffPolicyConfig
from odeploy_train.off_policy.fmer import FmerActor
from odeploy_train.policies.best_of_n import BestOfN, BestOfNConfig
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.runs.folder import load_policy

TINY = (
    "--task", "humanoid", "--envs", "2", "--batch", "4", "--critic-widths", "8", "--workers", "0", "--steps", "24",
    "--start-steps", "8", "--score-episodes", "0", "--width", "8", "--candidates", "4", "--solver-steps", "3",
)  # fmt: skip


def test_the_deployed_policy_proposes_and_values_as_in_training_in_robot_units(tmp_path: Path) -> None:
    """The task's limits are not ±1."""
    fmer_run.main([*TINY, "--out", str(tmp_path)])
    policy, card = load_policy(tmp_path)
    assert isinstance(policy, BestOfN)
    assert (card.method, card.kind) == ("fmer", "best-of-n")
    config = fmer_run.Config("humanoid", tmp_path, critic_widths=(8,), width=8, candidates=4)
    learner = fmer_run.start(config, policy.config, OffPolicyConfig(), make_vector(get("humanoid"), 1, workers=0))
    learner.resume(config)
    core = learner.core
    assert isinstance(core.actor, FmerActor)
    raw, noise = torch.randn(3, 348) * 50, torch.randn(3, 5, 17)
    with torch.no_grad():
        actions, values = policy.propose(raw, noise, EULER, uniform_grid(3))
        normalised = core.normalise(raw)
        unit = solve(core.actor.velocity, normalised, noise, 3).end.tanh()
        torch.testing.assert_close(actions, 0.4 * unit, atol=1e-5, rtol=0)
        torch.testing.assert_close(values, core.critics.judge(normalised, unit), atol=1e-4, rtol=1e-4)
        raw_sample = policy.flow.sample(raw, noise[:, 0], EULER, uniform_grid(3))
        torch.testing.assert_close(raw_sample, actions[:, 0])


def test_scores_take_the_best_of_their_own_number_of_samples() -> None:
    """A sample of one, and one of 64, whose value is higher; both may be tried by one."""
    task, values = get("humanoid"), []
    raw = torch.randn(20, 348)
    for count in (1, 64):
        config = fmer_run.Config("humanoid", Path(), critic_widths=(8,), width=8, choices=1, scored_choices=count)
        sizes = BestOfNConfig(FlowConfig(348, 17, 8, 2, clip=10.0, squash=True), (8,), critic_norm=True)
        learner = fmer_run.start(config, sizes, OffPolicyConfig(), make_vector(task, 1, workers=0))
        policy = learner.deploy()
        assert isinstance(policy, fmer_run.Scored)
        values.append(policy.value(raw, policy(raw)).detach())
    assert bool((values[1] > values[0]).float().mean() > 0.9)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("effective-share", "0.3", "at least 2 of 4 candidates.* got 0.3, 1.2 of them"),
        ("effective-share", "1", "at least 2 of 4 candidates, and below 1"),
        ("entropy-draws", "5", "at most --candidates 4"),
        ("target-entropy", "0.7", "below log 2"),
        ("uniform", "-1", "at least 0"),
        ("alpha", "-1", "at least 0"),
        ("choices", "0", "a number above 0"),
        ("slow-rate", "0", "above 0, at most 1"),
        ("resample", "-1", "at least 0"),
        ("alpha-lr", "0", "a number above 0"),
    ],
)
def test_an_invalid_number_is_refused_by_its_option(
    option: str, value: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"--{option}: expected {expected}"):
        fmer_run.main([*TINY, "--out", str(tmp_path), f"--{option}", value])
