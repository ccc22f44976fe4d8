"""Advantage weights: the effective sample size is the configured one, and rounding gives no preference."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from odeploy_train.off_policy.candidate_weights import advantage_weights, effective_size, resampled

shares, scales, seeds = st.floats(0.2, 0.95), st.floats(-2, 4), st.integers(0, 1000)


def values(scale: float, seed: int) -> Tensor:
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(seed)) * 10**scale


@given(shares, scales, seeds, st.one_of(st.none(), st.floats(-3, 3)), st.booleans())
def test_the_mean_effective_size_is_the_configured_share_from_any_start(
    share: float, scale: float, seed: int, start: float | None, per_state: bool
) -> None:
    guess = None if start is None else 10 ** (scale + start)
    weights, _ = advantage_weights(values(scale, seed), share, guess, per_state=per_state)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(32))
    assert float(effective_size(weights).mean()) == pytest.approx(share * 8, rel=1e-3)


@given(shares, scales, seeds, st.floats(-3, 3))
def test_the_temperature_is_that_of_a_bisection(share: float, scale: float, seed: int, start: float) -> None:
    value = values(scale, seed)
    _, found = advantage_weights(value, share, 10 ** (scale + start))
    exact, low, high = value.double(), math.log(1e-6), math.log(1e9)
    for _ in range(80):
        middle = (low + high) / 2
        size = float(effective_size((exact * math.exp(-middle)).softmax(dim=1)).mean())
        low, high = (low, middle) if size >= share * 8 else (middle, high)
    assert float(found) == pytest.approx(math.exp(high), rel=0.02)


def test_weights_are_the_softmax_of_advantages_at_the_returned_temperature() -> None:
    value = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)) * 3 - 100
    weights, temperature = advantage_weights(value, 0.4)
    torch.testing.assert_close(weights, (value / temperature).softmax(dim=1), rtol=1e-3, atol=1e-5)


def test_per_state_the_weights_do_not_depend_on_a_states_scale() -> None:
    value = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    scaled = value * torch.linspace(0.5, 2, 32)[:, None]
    for per_state in (True, False):
        one, other = (advantage_weights(each, 0.5, per_state=per_state)[0] for each in (value, scaled))
        assert torch.allclose(one, other, atol=2e-3) is per_state


def test_per_state_a_nearly_flat_state_does_not_select() -> None:
    value = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    value[0] *= 1e-3
    weights, _ = advantage_weights(value, 0.5, per_state=True)
    torch.testing.assert_close(weights[0], torch.full((8,), 1 / 8), rtol=0.05, atol=0)


@pytest.mark.parametrize("per_state", [False, True])
@pytest.mark.parametrize("rounding", [0.0, 1e-6])
def test_candidates_of_equal_value_have_equal_weights(rounding: float, per_state: bool) -> None:
    noise = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    for start in (None, 1e-3, 1e3):
        weights, _ = advantage_weights(100 * (1 + rounding * noise), 0.5, start, per_state=per_state)
        torch.testing.assert_close(weights, torch.full((32, 8), 1 / 8), rtol=0.1, atol=0)


def test_a_state_without_preference_has_equal_weights_next_to_others() -> None:
    value = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    value[0] = 5.0
    weights, _ = advantage_weights(value, 0.5)
    torch.testing.assert_close(weights[0], torch.full((8,), 1 / 8))


def test_candidates_are_drawn_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.0, 0.3, 0.7, 0.0]])
    drawn = resampled(weights.repeat(4000, 1), 4, torch.Generator().manual_seed(0)).view(4000, 2, 4)
    counts = torch.nn.functional.one_hot(drawn, 4).sum(dim=2)
    torch.testing.assert_close(counts.float().mean(dim=0) / 4, weights, atol=0.01, rtol=0)
    assert bool(((counts - 4 * weights).abs() < 1).all()), "rounded down or up"
