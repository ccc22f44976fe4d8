"""A file's score between the expert's and standing still."""

from dataclasses import replace

import numpy as np
import pytest

from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.doctor.score import PlayerScore, check_ends, check_score, joined, play, spread, standing_still
from odeploy_sim.tasks.env import TaskEnv


def played(*values: float, broken: int = 0) -> PlayerScore:
    spread_of = max(values, default=0) - min(values, default=0)
    mean = float(np.mean(values)) if values else 0.0
    empty = np.empty((0, 2), np.float32)
    return PlayerScore(empty, empty, values, mean - spread_of / 2, mean + spread_of / 2, broken)


EXPERT, STILL = played(100, 102), played(0, 2)


@pytest.mark.parametrize(
    ("file", "severities"),
    [
        (played(101, 101), []),
        (played(150, 160), []),
        (played(85, 97), []),  # the interval reaches the threshold
        (played(60, 62), ["warning"]),
        (played(10, 12), ["error"]),
        (played(-50, -40), ["error"]),
        (played(10, 12, broken=1), ["error", "error"]),
        (played(broken=3), ["error"]),
    ],
)
def test_the_severity_depends_on_the_score_between_expert_and_standing_still(
    file: PlayerScore, severities: list[str]
) -> None:
    assert [f.severity for f in check_score(file, EXPERT, STILL)] == severities


def test_an_error_lists_all_three_scores_and_possible_causes() -> None:
    (finding,) = check_score(played(10, 12), EXPERT, STILL)
    assert "11.00 [10.00, 12.00]; the expert 101 [100, 102], the safe action alone 1.00" in finding.seen
    for cause in ("trained", "normalisers", "joint order", "t = 0 is noise"):
        assert cause in finding.remedy


@pytest.mark.parametrize("expert", [None, played(1, 1)])
def test_without_a_better_expert_a_file_only_has_to_beat_standing_still(expert: PlayerScore | None) -> None:
    assert check_score(played(3, 5), expert, played(1, 1)) == []
    (finding,) = check_score(played(0, 1), expert, played(1, 1))
    assert finding.severity == "warning"


def ends(ended: int, *lengths: int) -> PlayerScore:
    return replace(played(0, 1), lengths=lengths, ended=ended)


@pytest.mark.parametrize(
    ("file", "expert", "severities"),
    [
        (ends(0, 1000, 1000), None, []),
        (ends(1, 1000, 40), None, []),
        (ends(2, 40, 60), None, ["error"]),
        (ends(2, 400, 600), None, ["warning"]),
        (ends(2, 40, 60), ends(0, 1000, 1000), ["error"]),
        (ends(2, 40, 60), ends(1, 1000, 900), []),  # the expert falls too
    ],
)
def test_a_file_whose_episodes_all_end_at_once_is_refused(
    file: PlayerScore, expert: PlayerScore | None, severities: list[str]
) -> None:
    findings = check_ends(file, expert, HOPPER)
    assert [f.severity for f in findings] == severities
    assert all("the task ended 2 of 2 episodes early" in f.seen for f in findings)


def test_an_early_end_is_no_fault_of_a_task_that_is_scored_by_success(maze: TaskEnv) -> None:
    assert check_ends(ends(2, 40, 60), None, maze.task) == []


def test_all_players_get_the_same_episodes(maze: TaskEnv) -> None:
    players = demonstrator(maze, None, 1), standing_still(maze.task)
    expert, still = (play(maze, player, 2, seed=5) for player in players)
    assert (expert.score, still.score) == (1.0, 0.0)
    assert (expert.observations[0] == still.observations[0]).all()
    assert still.actions.shape == (800, 2)
    assert not still.actions.any()
    assert 0 < expert.low < expert.high == 1.0


def test_observations_are_spread_over_all_players() -> None:
    one, other = (np.full((50, 3), value, np.float32) for value in (1, 2))
    rows = joined([one, other], 10)
    assert rows[:, 0].tolist() == [1] * 5 + [2] * 5
    assert spread(3, 10).tolist() == [0, 1, 2]
