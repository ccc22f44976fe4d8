"""Common faults of an exported policy, as deployments that have them."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from odeploy_export.kinds.kind import Deployment, Fault
from odeploy_train.modules.ode import SOLVERS


def without_normaliser(deployment: Deployment) -> Iterator[Fault]:
    """Yield the fault that raw observations go into the network."""
    changed = copy.deepcopy(deployment.policy)
    changed.observation_mean.zero_()
    changed.observation_std.fill_(1)
    yield "the observation's normaliser were left out", replace(deployment, policy=changed)


def without_scale(deployment: Deployment) -> Iterator[Fault]:
    """Yield the fault that the network's output counts as robot units."""
    policy = deployment.policy
    zeros, ones = torch.zeros_like(policy.action_mean), torch.ones_like(policy.action_std)
    yield "the action's scale were left out", _with(deployment, action_mean=zeros, action_std=ones)


def without_limits(deployment: Deployment) -> Iterator[Fault]:
    """Yield the fault that actions are not clipped."""
    policy = deployment.policy
    low, high = torch.full_like(policy.low, -torch.inf), torch.full_like(policy.high, torch.inf)
    yield "the bounds were dropped", _with(deployment, low=low, high=high)


def other_flow(deployment: Deployment) -> Iterator[Fault]:
    """Yield the faults of direction in time or velocity, and of the solver."""
    sampler, velocity = deployment.required_sampler, deployment.policy.velocity
    backwards = replace(sampler, t_grid=sampler.t_grid[::-1])
    yield "time ran backwards, from t = 1 to 0", replace(deployment, sampler=backwards)
    yield (
        "the velocity were taken at 1 - t: t = 1 is the action here",
        _with(deployment, velocity=_OtherVelocity(velocity, flip_time=True)),
    )
    yield (
        "the velocity had the other sign: it points from noise to action here",
        _with(deployment, velocity=_OtherVelocity(velocity, flip_sign=True)),
    )
    for name in SOLVERS:
        if name != sampler.solver:
            changed = replace(deployment, sampler=replace(sampler, solver=name))
            yield f"the solver were {name}, not {sampler.solver}", changed


def _with(deployment: Deployment, **attributes: Any) -> Deployment:
    """Return the deployment of a copy of its policy with other attributes."""
    changed = copy.deepcopy(deployment.policy)
    for name, value in attributes.items():
        setattr(changed, name, value)
    return replace(deployment, policy=changed)


class _OtherVelocity(nn.Module):
    """v at 1 - t, or -v."""

    def __init__(self, inside: nn.Module, flip_time: bool = False, flip_sign: bool = False) -> None:
        super().__init__()
        self._inside, self._flip_time, self._sign = inside, flip_time, -1.0 if flip_sign else 1.0

    def forward(self, observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
        velocity: Tensor = self._inside(observation, x, 1 - t if self._flip_time else t)
        return self._sign * velocity
