"""Advantages against their definition as a sum, and against closed forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from odeploy_train.on_policy.advantages import advantages, normalised

T, N, GAMMA, LAMBDA = 9, 3, 0.9, 0.7
VALID = torch.ones(T, N, dtype=torch.bool)


def by_definition(rewards: Tensor, values: Tensor, following: Tensor, terminated: Tensor, over: Tensor) -> Tensor:
    """Return A_t = Σ_k (γλ)^k δ_{t+k}, up to the end of t's episode, term by term."""
    result = torch.zeros_like(rewards)
    for i in range(N):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                bootstrap = 0.0 if terminated[k, i] else GAMMA * following[k, i]
                result[t, i] += weight * (rewards[k, i] + bootstrap - values[k, i])
                if over[k, i]:
                    break
                weight *= GAMMA * LAMBDA
    return result


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_advantages_are_the_discounted_sum_of_their_episodes_errors(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values, following = torch.randn(3, T, N, generator=generator, dtype=torch.float64)
    ends, cuts = torch.rand(2, T, N, generator=generator) < share / 2
    over = (ends | cuts).double()
    found = advantages(rewards, values, following, ends.double(), over, VALID, GAMMA, LAMBDA)
    torch.testing.assert_close(found, by_definition(rewards, values, following, ends, over))


def test_a_cut_bootstraps_and_a_termination_does_not() -> None:
    """A constant reward of 1 has the value 1 / (1 - γ); with the exact critic a cut has no advantage."""
    worth = torch.full((T, N), 1 / (1 - GAMMA))
    none, last = torch.zeros(T, N), torch.zeros(T, N)
    last[-1] = 1
    rewards = torch.ones(T, N)
    cut = advantages(rewards, worth, worth, none, last, VALID, GAMMA, LAMBDA)
    torch.testing.assert_close(cut, none, atol=1e-5, rtol=0)
    ended = advantages(rewards, worth, worth, last, last, VALID, GAMMA, LAMBDA)
    assert ended[-1].tolist() == pytest.approx([1 - 1 / (1 - GAMMA)] * N)


def test_with_trace_decay_1_advantage_and_value_are_the_discounted_return() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, T, N, generator=generator, dtype=torch.float64)
    following = torch.cat([values[1:], torch.zeros(1, N)])
    ends = torch.zeros(T, N, dtype=torch.float64)
    ends[-1] = 1
    found = advantages(rewards, values, following, ends, ends, VALID, GAMMA, 1.0) + values
    powers = GAMMA ** torch.arange(T, dtype=torch.float64)
    for t in range(T):
        torch.testing.assert_close(found[t], (powers[: T - t, None] * rewards[t:]).sum(0))


def test_a_broken_tick_has_no_advantage_and_passes_none_to_the_tick_before_it() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values, following = torch.randn(3, T, N, generator=generator, dtype=torch.float64)
    broken = torch.zeros(T, N, dtype=torch.bool)
    broken[5, 1] = True
    ends = broken.double()
    found = advantages(rewards, values, following, ends, ends, ~broken, GAMMA, LAMBDA)
    assert found[5, 1] == 0
    assert found[4, 1].item() == pytest.approx((rewards + GAMMA * following - values)[4, 1].item())


def test_normalised_advantages_leave_out_broken_ticks() -> None:
    valid = torch.tensor([True, True, False, True])
    found = normalised(torch.tensor([1.0, 2.0, 1e6, 6.0]), valid)
    torch.testing.assert_close(found[valid], (torch.tensor([1.0, 2.0, 6.0]) - 3) / (14 / 3) ** 0.5)


@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_equal_advantages_become_zero(rows: int) -> None:
    found = normalised(torch.full((rows,), 0.3), torch.ones(rows, dtype=torch.bool))
    torch.testing.assert_close(found, torch.zeros(rows), atol=1e-6, rtol=0)
