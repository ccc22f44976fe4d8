"""The token bucket against its closed form: exactly burst + rate × time."""

from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.realtime.token_bucket import TokenBucket

S = 1_000_000_000


def test_a_new_bucket_gives_its_burst_and_no_more() -> None:
    bucket = TokenBucket(10.0, 5)
    assert [bucket.take(S) for _ in range(7)] == [True] * 5 + [False] * 2


def test_it_refills_evenly_and_not_beyond_its_size() -> None:
    bucket = TokenBucket(10.0, 5)
    for _ in range(5):
        bucket.take(S)
    assert not bucket.take(S + S // 10 - 1)
    assert bucket.take(S + S // 10)
    assert not bucket.take(S + S // 10)
    assert [bucket.take(100 * S) for _ in range(6)] == [True] * 5 + [False]


def test_it_is_full_again_when_all_its_tokens_are_back() -> None:
    bucket = TokenBucket(10.0, 5)
    assert bucket.is_full(S)
    bucket.take(S)
    assert not bucket.is_full(S + S // 10 - 1)
    assert bucket.is_full(S + S // 10)


@given(st.integers(1, 20), st.lists(st.integers(0, S // 2), max_size=200))
def test_tokens_within_any_time_are_bounded_by_burst_and_rate(burst: int, gaps: list[int]) -> None:
    bucket, now_ns, given_at = TokenBucket(8.0, burst), S, []
    for gap in gaps:
        now_ns += gap
        if bucket.take(now_ns):
            given_at.append(now_ns)
    for i, first in enumerate(given_at):
        for count, last in enumerate(given_at[i:], start=1):
            assert count <= burst + 8.0 * (last - first) / S


@given(st.integers(1, 20), st.lists(st.integers(0, S // 2), max_size=200))
def test_it_equals_a_bucket_with_fractional_tokens(burst: int, gaps: list[int]) -> None:
    """The textbook form, in units of an eighth of a second, without rounding."""
    interval = S // 8
    bucket, now_ns, tokens = TokenBucket(8.0, burst), S, burst * interval
    for gap in gaps:
        now_ns, tokens = now_ns + gap, min(burst * interval, tokens + gap)
        enough = tokens >= interval
        tokens -= interval * enough
        assert bucket.take(now_ns) == enough
