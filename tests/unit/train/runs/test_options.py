"""Invalid options are refused by name."""

import math

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_train.runs.options import require_from_zero, require_positive, require_scores


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_the_first_option_that_is_not_above_zero_is_named(value: float) -> None:
    require_positive(steps=1, lr=1e-9)
    with pytest.raises(UsageError, match=f"--score-every: expected a number above 0, got {value:g}"):
        require_positive(steps=1, score_every=value, lr=0)


@pytest.mark.parametrize("value", [-0.1, 0.5, math.nan])
def test_the_first_option_outside_its_range_is_named(value: float) -> None:
    require_from_zero(average=(0.0, 0.5), warmup=(3, math.inf))
    with pytest.raises(UsageError, match=rf"--time-margin: expected at least 0 and below 0\.5, got {value:g}"):
        require_from_zero(average=(0.0, 0.5), time_margin=(value, 0.5))


def test_keeping_the_best_without_scores_is_refused() -> None:
    require_scores("last", 0)
    require_scores("best", 1)
    with pytest.raises(UsageError, match="--keep best: expected scores to choose by, got --score-episodes 0"):
        require_scores("best", 0)
