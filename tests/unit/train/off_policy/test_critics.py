"""Twin critics: LayerNorm before the activations, and the smaller of two values."""

import pytest
import torch
from torch.nn.functional import layer_norm, linear

from odeploy_train.off_policy.critics import TwinCritics


@pytest.mark.parametrize("norm", [False, True])
def test_a_critic_is_linear_norm_relu_repeated_and_a_last_linear_layer(norm: bool) -> None:
    critics, o, a = TwinCritics(3, 2, (8, 6), norm), torch.randn(5, 3), torch.randn(5, 2)
    for value, critic in zip(critics(o, a), critics.both, strict=True):
        h = torch.cat([o, a], dim=1)
        parameters = list(critic.parameters())
        while len(parameters) > 2:
            h = linear(h, parameters.pop(0), parameters.pop(0))
            if norm:
                h = layer_norm(h, h.shape[-1:], parameters.pop(0), parameters.pop(0))
            h = h.relu()
        torch.testing.assert_close(value, linear(h, *parameters)[:, 0])


def test_a_normed_critic_is_bounded_far_from_its_data() -> None:
    critics, direction = TwinCritics(3, 2, (16,), norm=True), torch.randn(1, 5)
    near, far = (critics(direction[:, :3] * k, direction[:, 3:] * k) for k in (1e3, 1e6))
    torch.testing.assert_close(near, far, rtol=0.05, atol=0.05)


def test_several_actions_of_a_state_are_valued_as_each_alone() -> None:
    critics, observation, actions = TwinCritics(2, 3, (8,)), torch.randn(4, 2), torch.randn(4, 5, 3)
    both = critics(observation, actions[:, 2])
    torch.testing.assert_close(critics.judge(observation, actions)[:, 2], both.min(dim=0).values)
