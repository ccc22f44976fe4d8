"""A diffusion policy over the action, conditioned on the observation, with everything around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.ddpm import ScheduleName, ancestral, schedule
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.running_moments import moments

DEPLOYED_STEPS = 100  # of a sampler, where nobody asks for another number


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes and schedule of a `DiffusionPolicy`."""

    observation_size: int
    """O."""
    action_size: int
    """A; the diffusion runs in D = A dimensions."""
    width: int = 256
    """Neurons of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    time_features: int = 16
    """E, of the time embedding."""
    schedule: ScheduleName = "cosine"
    """Of the noise."""
    steps: int = 1000
    """T, of the noise."""
    clip: bool = True
    """Whether each step clips the x_0 that it predicts to the action's limits."""
    observation_clip: float | None = None
    """Of the normalised observation; None for none."""


class DiffusionPolicy(nn.Module):
    """Noise becomes an action by ancestral sampling with a learnt denoiser.

    Attributes:
        config: sizes and schedule.
        denoiser: ε̂(observation, x, t); the network that a flow uses for its velocity.
        levels: the noise schedule.
        clips: whether the predicted x_0 is clipped.
    """

    observation_mean: Tensor
    observation_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        O, A = config.observation_size, config.action_size  # noqa: E741
        self.denoiser = VelocityNet(O, A, config.width, config.depth, config.time_features)
        self.levels = schedule(config.schedule, config.steps)
        self.clips = config.clip
        self.register_buffer("observation_mean", torch.zeros(O))
        self.register_buffer("observation_std", torch.ones(O))
        self.register_buffer("action_mean", torch.zeros(A))
        self.register_buffer("action_std", torch.ones(A))
        self.register_buffer("low", torch.full((A,), -torch.inf))
        self.register_buffer("high", torch.full((A,), torch.inf))

    def fit(self, observations: Tensor, actions: Tensor, signals: Sequence[Signal]) -> None:
        """Sets normalisers and bounds.

        Args:
            observations: raw. Shape (M, O).
            actions: robot units. Shape (M, A).
            signals: of the action.
        """
        self.observation_mean, self.observation_std = moments(observations)
        self.action_mean, self.action_std = moments(actions)
        self.low, self.high = torch.from_numpy(lows(signals)), torch.from_numpy(highs(signals))

    @property
    def clip(self) -> float:
        """Of the normalised observation; infinite where there is none."""
        return math.inf if self.config.observation_clip is None else self.config.observation_clip

    def normalise(self, observation: Tensor) -> Tensor:
        """Raw units to unit scale, clipped. Shape (B, O)."""
        unit = (observation - self.observation_mean) / self.observation_std
        return unit if math.isinf(self.clip) else unit.clamp(-self.clip, self.clip)

    def normalise_action(self, action: Tensor) -> Tensor:
        """Robot units to unit scale. Shape (B, A)."""
        return (action - self.action_mean) / self.action_std

    def sample(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> Tensor:
        """Denoises to actions in robot units, within the bounds.

        Args:
            observation: raw. Shape (B, O).
            noise: N(0, I), or zeros for one deterministic answer; S draws in the order of use. Shape (B, S, D).
            t_grid: the S + 1 times that `levels.t_grid(S)` gives.

        Returns:
            Shape (B, A).
        """
        o = self.normalise(observation)
        low, high = self.normalise_action(self.low), self.normalise_action(self.high)

        def epsilon(t: float, x: Tensor) -> Tensor:
            answer: Tensor = self.denoiser(o, x, x.new_full((len(x),), t))
            return answer

        def bound(x0: Tensor) -> Tensor:
            return torch.clamp(x0, low, high) if self.clips else x0

        x = ancestral(epsilon, noise, self.levels, t_grid, bound)
        return torch.clamp(x * self.action_std + self.action_mean, self.low, self.high)
