"""Statistics: published values, closed forms, and coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.reports.statistics import Z95, block_interval, mean_interval, percentiles_us, wilson_interval


def test_z95_is_the_quantile_of_the_normal_distribution() -> None:
    assert math.erf(Z95 / math.sqrt(2)) == pytest.approx(0.95, abs=1e-15)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (50, 50, 0.9287, 1.0),
        (0, 50, 0.0, 0.0713),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_intervals_are_the_published_ones(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_bounds_solve_its_quadratic(counts: tuple[int, int]) -> None:
    """|p - q| = z √(q (1 - q) / n) at both bounds q."""
    successes, trials = counts
    p = successes / trials
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= p + 1e-15
    assert p - 1e-15 <= high <= 1
    for q in (low, high):
        assert (p - q) ** 2 == pytest.approx(Z95**2 * q * (1 - q) / trials, abs=1e-9)


def test_the_mean_interval_has_the_width_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = mean_interval(values.tolist())
    half = Z95 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_intervals_are_the_same_at_every_call() -> None:
    values = [1.0, 4.0, 2.0, 8.0]
    assert mean_interval(values) == mean_interval(values)
    ticks = np.arange(300, dtype=np.int64)
    assert block_interval(ticks, np.median) == block_interval(ticks, np.median)


@pytest.mark.parametrize("count", [1, 7])
def test_equal_values_have_an_interval_of_no_width(count: int) -> None:
    assert mean_interval([2.5] * count) == (2.5, 2.5)
    assert block_interval(np.full(count, 3, np.int64), lambda v: float(v.mean())) == (3, 3)


def test_the_block_bootstrap_accounts_for_correlation() -> None:
    """For an AR(1) series the variance of the mean is (1 + a) / (1 - a) times that of independent values."""
    a, generator = 0.9, np.random.default_rng(0)
    series = np.zeros(20_000)
    for i, shock in enumerate(generator.normal(0, 1000, len(series) - 1), start=1):
        series[i] = a * series[i - 1] + shock
    values = series.astype(np.int64)

    def width(block: int) -> float:
        low, high = block_interval(values, lambda v: float(v.mean()), block=block, resamples=500)
        return high - low

    expected = math.sqrt((1 + a) / (1 - a))
    assert width(200) / width(1) == pytest.approx(expected, rel=0.2)


def test_a_series_shorter_than_a_block_is_one_block() -> None:
    values = np.array([1, 2, 3], np.int64)
    assert block_interval(values, lambda v: float(v.sum()), block=50) == (6, 6)


def test_resampled_series_have_the_length_of_the_original_and_consist_of_its_blocks() -> None:
    values = np.arange(105, dtype=np.int64)
    seen: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
    block_interval(values, lambda v: seen.append(v) or 0.0, block=10, resamples=20)  # type: ignore[func-returns-value]
    assert len(seen) == 20
    for series in seen:
        assert len(series) == 105
        inner = np.delete(np.diff(series), np.arange(9, 104, 10))
        assert (inner == 1).all()


def test_percentiles_are_those_of_a_known_series_in_microseconds() -> None:
    values = np.random.default_rng(0).permutation(np.arange(0, 20_001) * 1000)
    assert percentiles_us(values) == pytest.approx(
        {"p50": 10_000, "p90": 18_000, "p99": 19_800, "p99.9": 19_980, "max": 20_000}
    )


@pytest.mark.parametrize(("count", "present"), [(1, False), (9_999, False), (10_000, True)])
def test_p999_is_present_from_ten_thousand_values(count: int, present: bool) -> None:
    assert (percentiles_us(np.zeros(count, np.int64))["p99.9"] is not None) == present


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles_us(np.zeros(0, np.int64)) == dict.fromkeys(("p50", "p90", "p99", "p99.9", "max"))
