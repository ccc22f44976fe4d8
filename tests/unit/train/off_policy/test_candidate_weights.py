"""Advantage weights: the effective sample size is the configured one, and rounding gives no preference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odeploy_train.off_policy.candidate_weights import advantage_weights, effective_size


@given(st.floats(0.2, 0.95), st.floats(-2, 4), st.integers(0, 1000))
def test_the_mean_effective_size_is_the_configured_share(share: float, scale: float, seed: int) -> None:
    value = torch.randn(32, 8, generator=torch.Generator().manual_seed(seed)) * 10**scale
    weights, _ = advantage_weights(value, share)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(32))
    assert float(effective_size(weights).mean()) == pytest.approx(share * 8, rel=1e-3)


def test_weights_are_the_softmax_of_advantages_at_the_returned_temperature() -> None:
    value = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)) * 3 - 100
    weights, temperature = advantage_weights(value, 0.4)
    torch.testing.assert_close(weights, (value / temperature).softmax(dim=1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rounding", [0.0, 1e-6])
def test_candidates_of_equal_value_have_equal_weights(rounding: float) -> None:
    noise = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    weights, _ = advantage_weights(100 * (1 + rounding * noise), 0.5)
    torch.testing.assert_close(weights, torch.full((32, 8), 1 / 8), rtol=0.1, atol=0)


def test_a_state_without_preference_has_equal_weights_next_to_others() -> None:
    value = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    value[0] = 5.0
    weights, _ = advantage_weights(value, 0.5)
    torch.testing.assert_close(weights[0], torch.full((8,), 1 / 8))
