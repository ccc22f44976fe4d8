"""The saddle of grid-world: shares of moves, paths, slopes and refused runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from odeploy_runtime.errors import ContractError
from odeploy_sim.environments.grid_world import GridWorldEnv
from odeploy_train.figures import cli as figures
from odeploy_train.figures.grid_world import (
    ROW,
    both_ways,
    flow_at_saddle,
    gaussian_at_saddle,
    modes,
    most_balanced,
)
from odeploy_train.flow_rl import dppo, fpo_run
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

TINY = (
    "--envs", "2", "--ticks", "16", "--batch", "32", "--epochs", "1", "--workers", "0", "--steps", "96",
    "--score-every", "32", "--score-episodes", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of short runs, by name."""
    folder = tmp_path_factory.mktemp("runs")
    for name, main, task, *more in (
        ("fpo", fpo_run.main, "grid-world", "--no-squash"),
        ("dppo", dppo.main, "grid-world"),
        ("ppo", gaussian_ppo.main, "grid-world"),
        ("spread", gaussian_ppo.main, "grid-world", "--state-dependent-std", "--lr", "0.1"),
        ("elsewhere", gaussian_ppo.main, "maze-medium"),
    ):
        main([*TINY, "--task", task, "--out", str(folder / name), *more])
    return folder


def test_shares_count_the_moves_that_the_environment_makes() -> None:
    commands = torch.tensor([[0.0, 0.51], [0.9, 3.0], [0.0, -0.6], [1.0, 0.5], [0.0, -0.5]])
    moved = []
    for command in commands:
        world = GridWorldEnv(start=(0, 0))
        world.reset()
        moved.append(float(world.step(command.numpy())[0][1]))
    found = modes(commands)
    assert (found.up, found.down) == pytest.approx((np.mean(np.array(moved) > 0), np.mean(np.array(moved) < 0)))
    assert found.still == pytest.approx(0.4)


def test_a_cell_is_bimodal_if_both_directions_are_more_frequent_than_standing_still() -> None:
    commands = torch.zeros(25, 20, 2)
    commands[3, :6, 1], commands[3, 6:13, 1] = 1.0, -1.0  # 0.30, 0.35, and 0.35 still
    commands[7, :7, 1], commands[7, 7:15, 1] = 1.0, -1.0  # 0.35, 0.40, and 0.25
    commands[9, :2, 1], commands[9, 2:17, 1] = 1.0, -1.0  # 0.10, 0.75, and 0.15
    assert both_ways(commands) == 1
    assert most_balanced(commands) == 7


def test_paths_begin_at_noise_and_end_at_unclipped_commands(runs: Path) -> None:
    flow = flow_at_saddle(runs / "fpo", 500, 0)
    assert flow.paths.shape == (11, 500, 2)
    assert flow.paths[0].std().item() == pytest.approx(1, abs=0.1)
    assert flow.commands.shape == (25, 500, 2)
    assert torch.equal(flow.paths[-1], flow.commands[most_balanced(flow.commands)])
    assert flow.commands.abs().max() > 1
    squashed = flow_at_saddle(runs / "dppo", 500, 0)
    assert squashed.squash
    assert squashed.commands.abs().max() <= 1


def test_the_slopes_are_the_velocity_at_noise_in_the_cell(runs: Path) -> None:
    flow = flow_at_saddle(runs / "fpo", 3, 0, side=3)
    assert flow.points[4].tolist() == [0, 0]
    policy, _ = load_policy(runs / "fpo")
    assert isinstance(policy, FlowPolicy)
    cell = policy.normalise(torch.tensor([ROW[most_balanced(flow.commands)]]).expand(9, 2))
    with torch.no_grad():
        torch.testing.assert_close(flow.slopes, policy.velocity(cell, flow.points, torch.zeros(9)))


def test_a_gaussians_commands_have_its_mean_and_its_std(runs: Path) -> None:
    commands = gaussian_at_saddle(runs / "ppo", 20_000, 0)
    saved = checkpoint.load(runs / "ppo")
    assert saved is not None
    assert commands.shape == (25, 20_000, 2)
    torch.testing.assert_close(
        commands[12].std(0).float(), saved["modules"]["actor"]["log_std"].exp(), atol=0, rtol=0.03
    )


def test_a_std_that_depends_on_the_state_is_that_of_each_cell(runs: Path) -> None:
    commands = gaussian_at_saddle(runs / "spread", 20_000, 0)
    saved = checkpoint.load(runs / "spread")
    assert saved is not None
    moments = saved["modules"]["moments"]
    actor = GaussianActor(2, 2, state_dependent_std=True)
    actor.load_state_dict(saved["modules"]["actor"])
    row = (torch.tensor(ROW).double() - moments["mean"]) / moments["variance"].sqrt().clamp(min=1e-4)
    with torch.no_grad():
        std = actor.mean_and_log_std(row.clamp(-10, 10).float())[1].exp()
    assert (std[0] - std[-1]).abs().max() > 0.01
    torch.testing.assert_close(commands.std(1).float(), std, atol=0, rtol=0.04)


def test_the_figure_is_one_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs / "saddle.png"
    figures.fpo(
        ["--fpo", str(runs / "fpo"), "--gaussian", str(runs / "ppo"), "--out", str(out), "--samples", "100"]
    )
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "Gaussian PPO" in capsys.readouterr().out


def test_runs_of_another_type_or_task_are_refused(runs: Path) -> None:
    with pytest.raises(
        ContractError, match=r"--fpo .*: expected a flow policy, got .*kind mlp of grid-world, by ppo"
    ):
        flow_at_saddle(runs / "ppo", 10, 0)
    with pytest.raises(ContractError, match=r"--gaussian .*: expected a Gaussian policy, got .*by fpo"):
        gaussian_at_saddle(runs / "fpo", 10, 0)
    with pytest.raises(ContractError, match=r"expected a policy of grid-world, got .*of maze-medium"):
        gaussian_at_saddle(runs / "elsewhere", 10, 0)
