"""Limits of a probability ratio: bounded value, and the gradient of the limited exponent."""

import math

import torch

from odeploy_train.on_policy.ratio import limited_ratio, straight_through_limit


def test_a_straight_through_limit_bounds_the_value_and_keeps_the_gradient() -> None:
    x = torch.tensor([3.0, 12.0], requires_grad=True)
    limited = straight_through_limit(x, 10.0)
    assert limited.tolist() == [3.0, 10.0]
    assert torch.autograd.grad(limited.sum(), x)[0].tolist() == [1.0, 1.0]


def test_a_ratio_of_very_different_densities_is_finite() -> None:
    change = torch.tensor([-1e4, 0.0, 0.5, 1e4], requires_grad=True)
    ratio = limited_ratio(change)
    expected = torch.tensor([-10.0, 0.0, 0.5, 10.0]).exp()
    torch.testing.assert_close(ratio, expected)
    (gradient,) = torch.autograd.grad(ratio.sum(), change)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1.0, math.exp(0.5), math.exp(10)]))
