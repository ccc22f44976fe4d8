"""Critics with one best action: a test of an off-policy actor's update without an environment."""

import torch
from torch import Tensor

from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions

OBSERVATION = 2


class Bowl(TwinCritics):
    """Twin critics with Q(s, a) = -height · ‖a - best‖² in both; flat for height 0."""

    def __init__(self, height: float, best: float = 0.0) -> None:
        super().__init__(OBSERVATION, 1, (4,))
        self.height, self.best = height, best

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        value = -self.height * (action - self.best).square().sum(-1)
        return torch.stack([value, value])


def batch(rows: int, D: int, generator: torch.Generator) -> Transitions:
    """Return random states with uniform actions, used as improved actions too."""
    o = torch.randn(rows, OBSERVATION, generator=generator)
    action = 2 * torch.rand(rows, D, generator=generator) - 1
    return Transitions(o, action, torch.zeros(rows), o, torch.zeros(rows), torch.ones(rows), action.clone())
