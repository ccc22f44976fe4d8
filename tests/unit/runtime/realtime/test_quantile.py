"""The running estimate of a quantile, compared with the distribution's own."""

import numpy as np
import pytest

from odeploy_runtime.realtime.quantile import Quantile


@pytest.mark.parametrize(("q", "expected"), [(0.5, np.log(2)), (0.9, np.log(10)), (0.99, np.log(100))])
@pytest.mark.parametrize("first", [0.01, 100.0])
def test_the_estimate_approaches_the_quantile_of_an_exponential_distribution(
    q: float, expected: float, first: float
) -> None:
    estimate, rng, seen = Quantile(q, first), np.random.default_rng(0), []
    for measured in rng.exponential(size=60_000):
        estimate.add(measured)
        seen.append(estimate.value)
    assert np.mean(seen[-30_000:]) == pytest.approx(expected, rel=0.05)


def test_the_estimate_follows_a_change() -> None:
    estimate = Quantile(0.99, 1.0)
    for _ in range(50):
        estimate.add(10.0)
    assert 9.0 < estimate.value < 11.0
