"""Advantages against their definition as a sum, and against closed forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from odeploy_train.on_policy.advantages import advantages

T, N, GAMMA, LAMBDA = 9, 3, 0.9, 0.7


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
    found = advantages(rewards, values, following, ends.double(), over, GAMMA, LAMBDA)
    torch.testing.assert_close(found, by_definition(rewards, values, following, ends, over))


def test_a_cut_bootstraps_and_a_termination_does_not() -> None:
    """A constant reward of 1 has the value 1 / (1 - γ); with the exact critic a cut has no advantage."""
    worth = torch.full((T, N), 1 / (1 - GAMMA))
    none, last = torch.zeros(T, N), torch.zeros(T, N)
    last[-1] = 1
    rewards = torch.ones(T, N)
    cut = advantages(rewards, worth, worth, none, last, GAMMA, LAMBDA)
    torch.testing.assert_close(cut, none, atol=1e-5, rtol=0)
    ended = advantages(rewards, worth, worth, last, last, GAMMA, LAMBDA)
    assert ended[-1].tolist() == pytest.approx([1 - 1 / (1 - GAMMA)] * N)


def test_with_trace_decay_1_advantage_and_value_are_the_discounted_return() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, T, N, generator=generator, dtype=torch.float64)
    following = torch.cat([values[1:], torch.zeros(1, N)])
    ends = torch.zeros(T, N, dtype=torch.float64)
    ends[-1] = 1
    found = advantages(rewards, values, following, ends, ends, GAMMA, 1.0) + values
    powers = GAMMA ** torch.arange(T, dtype=torch.float64)
    for t in range(T):
        torch.testing.assert_close(found[t], (powers[: T - t, None] * rewards[t:]).sum(0))
