"""Running moments against NumPy's moments of all rows at once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odeploy_train.modules.running_moments import DATASET_STD_FLOOR, ReturnScale, RunningMoments, moments


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 1000))
def test_moments_of_batches_are_those_of_all_rows_together(sizes: list[int], seed: int) -> None:
    rows = np.random.default_rng(seed).normal(3.0, [0.1, 2.0, 50.0], (sum(sizes), 3))
    running = RunningMoments(3)
    for batch in np.split(rows, np.cumsum(sizes)[:-1]):
        running.see(torch.from_numpy(batch))
    np.testing.assert_allclose(running.mean, rows.mean(0), rtol=1e-10)
    np.testing.assert_allclose(running.variance, rows.var(0), rtol=1e-9, atol=1e-12)
    assert running.count == len(rows)


def test_before_the_first_rows_nothing_is_shifted_or_scaled() -> None:
    moments = RunningMoments(2)
    assert (moments.mean.tolist(), moments.std(1e-4).tolist()) == ([0, 0], [1, 1])


def test_a_constant_signal_is_divided_by_the_floor() -> None:
    moments = RunningMoments(1)
    moments.see(torch.full((10, 1), 5.0))
    assert moments.std(0.01).item() == pytest.approx(0.01)


def test_moments_survive_a_checkpoint() -> None:
    moments, other = RunningMoments(2), RunningMoments(2)
    moments.see(torch.tensor([[1.0, 2.0], [5.0, 9.0]]))
    other.load_state_dict(moments.state_dict())
    assert torch.equal(other.mean, moments.mean)
    assert torch.equal(other.variance, moments.variance)
    assert other.count == 2


def test_rewards_are_divided_by_the_spread_of_discounted_returns_across_rollouts() -> None:
    """Compare with returns summed tick by tick over two rollouts, with an episode end in the first."""
    generator = np.random.default_rng(0)
    rewards = generator.normal(1, 2, (8, 2))
    over = np.zeros((8, 2))
    over[2, 0] = 1
    seen, running = [], np.zeros(2)
    for reward, ended in zip(rewards, over, strict=True):
        running = running * 0.9 + reward
        seen.append(running.copy())
        running[ended == 1] = 0
    scale = ReturnScale(2, 0.9)
    first = scale.scale(torch.from_numpy(rewards[:4]), torch.from_numpy(over[:4]))
    np.testing.assert_allclose(first, rewards[:4] / np.std(seen[:4]), rtol=1e-10)
    second = scale.scale(torch.from_numpy(rewards[4:]), torch.from_numpy(over[4:]))
    np.testing.assert_allclose(second, rewards[4:] / np.std(seen), rtol=1e-10)


def test_moments_are_mean_and_population_std_and_a_constant_signal_gets_the_floor() -> None:
    mean, std = moments(torch.tensor([[1.0, 5.0, 100.0], [3.0, 5.0, 300.0]]))
    assert mean.tolist() == [2.0, 5.0, 200.0]
    assert std.tolist() == pytest.approx([1.0, DATASET_STD_FLOOR, 100.0])


def test_moments_of_many_large_numbers_are_exact() -> None:
    values = 1e4 + torch.arange(100_000, dtype=torch.float32)[:, None] % 2
    mean, std = moments(values)
    assert (mean.item(), std.item()) == (10000.5, 0.5)
    assert mean.dtype == torch.float32
