"""Shares of goals over played episodes, for any policy."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get
from odeploy_train.figures.goal_shares import GOALS, Ways, by_method, directions, play, ways_of
from odeploy_train.runs.folder import read_card

TASK = get("multigoal-2d")


@pytest.fixture
def ways(multigoal: Path) -> Ways:
    """Return ten made-up episodes: 5 east, 1 north, 2 south and 2 without a goal."""
    goals = np.array([0, 0, 0, 0, 0, 1, 3, 3, -1, -1])
    positions, directions = [np.zeros((3, 2), np.float32)] * 10, np.array([0.5, 0.4, 0.05, 0.0])
    return Ways(read_card(multigoal / "sac"), positions, goals, 60.0, directions)


def test_shares_are_relative_to_all_episodes_and_a_tenth_keeps_a_goal(ways: Ways) -> None:
    assert ways.shares.tolist() == [0.5, 0.1, 0.0, 0.2]
    assert ways.kept.tolist() == [True, True, False, True]


def test_directions_in_the_middle_tell_several_ways_in_one_state_from_one() -> None:
    generator = torch.Generator().manual_seed(0)

    def four_ways(observation: Tensor) -> Tensor:
        angle = torch.randint(4, (len(observation),), generator=generator) * torch.pi / 2 + 0.3
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    assert directions(four_ways) == pytest.approx([0.25] * 4, abs=0.08)  # four standard deviations
    assert directions(lambda o: torch.tensor([[-0.2, 0.1]]).expand(len(o), 2)).tolist() == [0, 0, 1, 0]
    assert directions(torch.zeros_like).tolist() == [0, 0, 0, 0]  # it stands still


def test_a_direction_counts_from_a_tenth_of_the_samples(ways: Ways) -> None:
    assert ways.ways == 2
    line = ways.line("SAC")
    assert (line["ways"], line["directions"]["north"]) == (2, 0.4)


@pytest.mark.parametrize("goal", range(4))
def test_a_policy_that_heads_for_a_goal_ends_at_it(goal: int) -> None:
    unit = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])[goal]
    assert ("east", "north", "west", "south")[goal] == GOALS[goal]

    def straight(observation: Tensor) -> Tensor:
        return (unit * 5 - observation).clamp(-1, 1)

    played, broke = play(TASK, straight, 3, seed=0)
    assert broke == 0
    ends = torch.tensor(np.array([way[-1] for way in played]))
    assert ((ends - unit * 5).norm(dim=1) < 0.5).all()
    assert all(20 < len(way) < 51 for way in played)
    starts = [way[0].tolist() for way in play(TASK, straight, 2, seed=0)[0]]
    assert starts == [way[0].tolist() for way in played[:2]]


def test_a_policy_of_zero_actions_plays_to_the_horizon() -> None:
    played, _ = play(TASK, torch.zeros_like, 2, seed=0)
    assert [len(way) for way in played] == [TASK.horizon + 1] * 2


def test_parallel_episodes_are_independent() -> None:
    def two_ways(observation: Tensor) -> Tensor:
        east = observation[:, :1] > 0
        return torch.where(east, torch.tensor([1.0, 0.0]), torch.tensor([-0.5, 0.0]))

    played, _ = play(TASK, two_ways, 6, seed=0)
    for way in played:
        assert np.sign(way[-1, 0]) == np.sign(way[0, 0])
    assert len({len(way) for way in played}) > 1


def test_runs_of_equal_options_share_a_row_and_other_rows_name_the_differing_option(ways: Ways) -> None:
    def run(seed: int, method: str = "fmer", **options: float) -> Ways:
        card = replace(ways.card, method=method, seed=seed, config={"seed": seed, **options})  # type: ignore[arg-type]
        return replace(ways, card=card)

    named = by_method([run(1, alpha=0.1), run(0, alpha=0.0), run(0, alpha=0.1), run(0, "sac", alpha=1.0)])
    assert {name: [each.card.seed for each in runs] for name, runs in named.items()} == {
        "FMER, alpha 0.1": [0, 1],
        "FMER, alpha 0.0": [0],
        "SAC": [0],
    }


def test_a_played_runs_line_has_all_shares_and_no_path(multigoal: Path) -> None:
    ways = ways_of(multigoal / "fmer-24", 4, seed=0)
    line = json.loads(json.dumps(ways.line("FMER")))
    assert (line["method"], line["seed"], line["episodes"]) == ("FMER", 0, 4)
    assert sum(line["shares"].values()) + line["nowhere"] == pytest.approx(1)
    assert str(multigoal) not in json.dumps(line)


def test_a_run_on_another_task_is_refused(multigoal: Path, tmp_path: Path) -> None:
    shutil.copytree(multigoal / "sac", tmp_path / "run")
    card = (tmp_path / "run" / "config.json").read_text().replace("multigoal-2d", "maze-medium")
    (tmp_path / "run" / "config.json").write_text(card)
    with pytest.raises(ContractError, match=r"expected a policy of multigoal-2d, got one of maze-medium"):
        ways_of(tmp_path / "run", 1, seed=0)
