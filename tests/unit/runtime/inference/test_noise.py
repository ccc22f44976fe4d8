"""Noise by tick: any tick's draw equals that of a new generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.policy_file.manifest import Noise

NORMAL = Noise("normal", (2, 3, 4))
numbers = st.integers(0, 2**63 - 1)


def independent(seed: int, episode: int, seq: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    bits = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=np.array([0, 0, episode, seq], np.uint64))
    return np.random.Generator(bits).standard_normal((1, 2, 3, 4), dtype=np.float32)


@given(numbers, st.lists(st.tuples(numbers, numbers), max_size=5))
def test_every_draw_is_that_of_a_new_philox_with_the_ticks_counter(
    seed: int, ticks: list[tuple[int, int]]
) -> None:
    source = NoiseSource(NORMAL, seed)
    for episode, seq in [*ticks, *reversed(ticks)]:
        drawn = source.draw(episode, seq)
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, independent(seed, episode, seq))


def test_a_draw_is_not_changed_by_the_next_one() -> None:
    source = NoiseSource(NORMAL, 1)
    first = source.draw(0, 0)
    kept = first.copy()
    source.draw(0, 1)
    np.testing.assert_array_equal(first, kept)


def test_different_seeds_episodes_and_numbers_share_no_draw() -> None:
    draws = {
        NoiseSource(NORMAL, seed).draw(episode, seq).tobytes()
        for seed in range(6)
        for episode in range(6)
        for seq in range(6)
    }
    assert len(draws) == 6**3


def test_draws_of_consecutive_ticks_are_standard_normal_and_independent() -> None:
    source = NoiseSource(Noise("normal", (1, 1, 8)), 3)
    drawn = np.concatenate([source.draw(0, seq).reshape(1, 8) for seq in range(4000)])
    n = drawn.size
    assert abs(drawn.mean()) < 4 / np.sqrt(n)
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((drawn**4).mean() - 3) < 4 * np.sqrt(96 / n)
    neighbours = (drawn[1:] * drawn[:-1]).mean()
    assert abs(neighbours) < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("noise", "shape"), [(Noise("none"), (1, 0, 0, 0)), (Noise("zero", (1, 2, 3)), (1, 1, 2, 3))]
)
def test_a_policy_without_randomness_gets_zeros_of_its_shape(noise: Noise, shape: tuple[int, ...]) -> None:
    drawn = NoiseSource(noise, 5).draw(1, 2)
    assert drawn.shape == shape
    assert drawn.dtype == np.float32
    assert not drawn.any()
