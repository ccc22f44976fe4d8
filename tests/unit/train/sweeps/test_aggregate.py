import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_train.sweeps.aggregate import aggregate, interquartile_mean, steps_to

scores = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


def test_the_interquartile_mean_of_eight_is_the_mean_of_the_middle_four() -> None:
    assert interquartile_mean([100, 1, 2, 3, 4, 5, -100, 6]) == (2 + 3 + 4 + 5) / 4


def test_of_three_values_none_is_trimmed() -> None:
    assert interquartile_mean([0, 0, 3]) == 1


@given(scores)
def test_the_interquartile_mean_lies_within_the_values_and_ignores_their_order(values: list[float]) -> None:
    value = interquartile_mean(values)
    assert min(values) - 1e-9 <= value <= max(values) + 1e-9
    assert value == pytest.approx(interquartile_mean(values[::-1]))


def test_one_broken_seed_of_eight_changes_the_mean_but_not_the_interquartile_mean() -> None:
    good = np.ones(8)
    broken = np.array([*good[:-1], -100.0])
    assert interquartile_mean(broken) == 1
    assert broken.mean() < -10


@given(scores)
def test_an_interval_lies_within_the_range_of_the_scores(
    values: list[float],
) -> None:
    made = aggregate([values], resamples=50)
    assert min(values) - 1e-9 <= made.low <= made.high <= max(values) + 1e-9


def test_the_interval_has_about_its_nominal_coverage() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        made = aggregate([generator.normal(5, 1, 20)], seed=trial, resamples=300)
        covered += made.low <= 5 <= made.high
    assert 0.86 <= covered / 200 <= 0.99


def test_tasks_are_resampled_separately() -> None:
    made = aggregate([[0.0] * 4, [10.0] * 4])
    assert (made.value, made.low, made.high, made.seeds) == (5, 5, 5, 4)


def test_a_task_without_scores_is_an_error() -> None:
    with pytest.raises(ValueError, match="every task"):
        aggregate([[1.0], []])


def test_a_curve_reaches_a_threshold_at_its_first_point_at_or_above_it() -> None:
    assert steps_to(0.5, [10, 20, 30, 40], [0.1, 0.5, 0.4, 0.9]) == 20
    assert steps_to(0.95, [10, 20, 30, 40], [0.1, 0.5, 0.4, 0.9]) is None
