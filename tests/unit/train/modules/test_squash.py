"""log (1 - tanh²), also where float32 knows nothing of it any more."""

import torch

from odeploy_train.modules.squash import log_slope


def test_it_is_the_derivative_of_tanh() -> None:
    u = torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(log_slope(u), (1 - u.tanh().square()).log().sum(-1))


def test_far_out_it_falls_as_the_exact_one_does() -> None:
    # 1 - tanh² u -> 4 exp(-2 |u|)
    u = torch.tensor([[30.0], [-30.0]])
    torch.testing.assert_close(log_slope(u), torch.full((2,), 2 * 0.6931472 - 60))
