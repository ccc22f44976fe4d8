from typing import Any

import pytest

from odeploy_train.sweeps.rows import best_score, last_scores, rows, scored_by, thresholds
from tests.unit.train.sweeps.test_table import MEASURED, line, score_of


def test_a_row_has_scores_over_seeds_efficiency_time_and_the_published_score() -> None:
    irl, fp = rows("maze-medium", MEASURED)
    assert irl.method == "FM-IRL"
    assert irl.scores["1"].value == pytest.approx((0.6 + 0.7 + 1.0) / 3)
    assert irl.scores["1"].seeds == irl.seeds == 3
    assert irl.reached == ((2000, 1.0), None)  # every seed reaches 0.5, only one reaches 0.8
    assert irl.trained_min == 2
    assert (irl.published, fp.published) == (0.873, 0.542)
    assert fp.reached == (None, None)
    assert (irl.outdated, fp.outdated) == (None, None)


def test_the_best_policy_has_its_own_score_or_the_highest_of_its_curve() -> None:
    curve: dict[str, Any] = {"steps": [1, 2, 3], "scores": [0.25, 0.75, 0.5], "wall_s": [1.0, 2.0, 3.0]}
    last = line("FMER", 0, 0.5, curve=curve)
    assert best_score(last) == {"value": 0.75, "low": 0.75, "high": 0.75}
    assert last_scores(last) == last["scores"]
    best = last | {"options": {"keep": "best"}, "last": {"1": score_of(0.125)}}
    assert best_score(best) == score_of(0.5)
    assert last_scores(best) == {"1": score_of(0.125)}
    assert best_score(line("FP", 0, 0.5, curve={"steps": [], "scores": [], "wall_s": []})) is None


def test_thresholds_of_the_control_suite_and_the_kitchen_are_within_their_range_of_returns() -> None:
    assert thresholds("cartpole-balance", []) == (250.0, 500.0)
    assert thresholds("kitchen:microwave+kettle", []) == (1.0, 2.0)
    assert thresholds("kitchen:kettle", []) == (0.5, 0.8)
    assert thresholds("hopper", []) == (1000.0, 2500.0)


def test_lines_of_a_task_that_is_not_catalogued_tell_what_its_table_needs() -> None:
    own = line("BC", 0, 0.5) | {"task": "arm", "scored_by": "return"}
    assert thresholds("arm", [own]) == (1000.0, 2500.0)
    assert thresholds("arm", [own | {"thresholds": [3.0]}]) == (3.0,)
    assert scored_by("arm", [own]) == "return"
    assert [row.method for row in rows("arm", [own])] == ["BC"]
