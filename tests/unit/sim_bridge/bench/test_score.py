"""Scores: a success rate or a mean return, with an interval and the player."""

import numpy as np
import pytest
from rich.console import Console

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.score import judged, score
from odeploy_sim.catalogue import get
from odeploy_sim.experts.trained import trained


def test_a_task_with_success_is_scored_by_its_share_of_successes() -> None:
    figures = judged(get("maze-medium"), np.array([5.0, 6.0, 7.0, 8.0]), np.array([True, False, True, True]))
    assert (figures["scored_by"], figures["value"], figures["episodes"]) == ("success", 0.75, 4)
    assert 0 < figures["low"] < 0.75 < figures["high"] < 1
    assert figures["return_mean"] == 6.5


def test_a_task_without_success_is_scored_by_its_return() -> None:
    figures = judged(get("hopper"), np.array([1.0, 3.0]), np.array([False, False]))
    assert (figures["scored_by"], figures["value"], figures["std"]) == ("return", 2.0, 1.0)
    assert figures["low"] < 2 < figures["high"]


@pytest.mark.parametrize("given", [False, True])
def test_a_score_names_its_player_and_the_command_that_repeats_it(given: bool) -> None:
    task, quiet = get("hopper"), Console(quiet=True)
    path = trained(task)
    assert path is not None
    figures = score(task, 2, 3, 1.0, read(path) if given else None, ChunkOptions(), quiet)
    assert (figures["episodes"], figures["invalid"], figures["seed"], figures["noise_level"]) == (2, 0, 3, 1.0)
    assert figures["command"] == "odeploy score hopper --episodes 2"
    assert figures["expert_kind"] == "policy"
    assert figures["value"] > 500
