"""Real-time chunking: the remaining actions of the last chunk, and their weights."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.inference.previous_chunk import PreviousChunk, frozen_weights

H, A, D = 6, 2, 2
CHUNK = np.arange(H * A, dtype=np.float32).reshape(H, A) + 1
OTHER = -CHUNK


def kept(seq: int = 4, epoch: int = 1, episode: int = 3) -> PreviousChunk:
    made = PreviousChunk()
    made.commit(epoch, episode, seq, CHUNK, D)
    return made


@given(st.integers(2, 20), st.integers(0, 19), st.integers(1, 25))
def test_the_weights_are_those_of_the_paper(horizon: int, frozen: int, played: int) -> None:
    weights = frozen_weights(horizon, frozen, played)
    left = max(0, horizon - played)
    frozen = min(frozen, left)
    for i, weight in enumerate(weights):
        if i < frozen:
            expected = 1.0
        elif i < left:
            c = (left - i) / (left - frozen + 1)
            expected = c * (math.exp(c) - 1) / (math.e - 1)
        else:
            expected = 0.0
        assert weight == pytest.approx(expected, rel=1e-6)
    assert (np.diff(weights) <= 0).all()


@pytest.mark.parametrize("played", range(1, H))
def test_a_later_tick_gets_the_remaining_actions(played: int) -> None:
    previous, weights = kept(4).before(1, 3, 4 + played)
    np.testing.assert_array_equal(previous[: H - played], CHUNK[played:])
    np.testing.assert_array_equal(previous[H - played :], 0)
    np.testing.assert_array_equal(weights, frozen_weights(H, D, played))


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ((1, 3, 4 + H), "all were played"),
        ((1, 4, 5), "another episode"),
        ((2, 3, 5), "another policy"),
        ((1, 3, 3), "an older tick"),
    ],
)
def test_a_tick_without_a_usable_chunk_gets_zeros(number: tuple[int, int, int], why: str) -> None:
    previous, weights = kept(4).before(*number)
    assert not previous.any(), why
    assert not weights.any(), why


def test_a_repeated_tick_gets_the_same_actions() -> None:
    made = kept(4)
    first = made.before(1, 3, 6)
    made.commit(1, 3, 6, OTHER, D)
    again = made.before(1, 3, 6)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    made.commit(1, 3, 6, OTHER, D)  # as a stream does
    np.testing.assert_array_equal(made.before(1, 3, 6)[0], first[0])
    np.testing.assert_array_equal(made.before(1, 3, 7)[0][: H - 1], OTHER[1:])


def test_a_late_commit_of_an_older_tick_changes_nothing() -> None:
    made = kept(4)
    made.commit(1, 3, 2, OTHER, D)
    np.testing.assert_array_equal(made.before(1, 3, 5)[0][: H - 1], CHUNK[1:])


def test_the_kept_chunk_is_a_copy() -> None:
    answer = CHUNK.copy()
    made = PreviousChunk()
    made.commit(1, 0, 0, answer, D)
    answer[:] = 0
    np.testing.assert_array_equal(made.before(1, 0, 1)[0][: H - 1], CHUNK[1:])
