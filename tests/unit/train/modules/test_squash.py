"""log (1 - tanh²), also where 1 - tanh² underflows in float32."""

import torch

from odeploy_train.modules.squash import log_slope


def test_the_log_slope_is_the_logarithm_of_tanhs_derivative() -> None:
    u = torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(log_slope(u), (1 - u.tanh().square()).log().sum(-1))


def test_far_from_zero_the_log_slope_follows_its_asymptote() -> None:
    # 1 - tanh² u -> 4 exp(-2 |u|)
    u = torch.tensor([[30.0], [-30.0]])
    torch.testing.assert_close(log_slope(u), torch.full((2,), 2 * 0.6931472 - 60))
