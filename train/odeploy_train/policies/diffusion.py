"""A diffusion policy: a denoiser with its normalisers, sampler and bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_runtime.signals import Signal, highs, lows
from odeploy_train.modules.ddpm import ScheduleName, ancestral, schedule
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.running_moments import moments

DEPLOYED_STEPS = 100  # sampler steps, the exporter's default


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes and schedule of a `DiffusionPolicy`."""

    observation_size: int
    """Size O of the observation."""
    action_size: int
    """Size A of the action; the diffusion has D = A dimensions."""
    width: int = 256
    """Neurons per hidden layer."""
    depth: int = 3
    """Hidden layers."""
    time_features: int = 16
    """Features E of the time embedding."""
    schedule: ScheduleName = "cosine"
    """Noise schedule."""
    steps: int = 1000
    """Noise steps T."""
    clip: bool = True
    """Whether each step clips its predicted x_0 to the action's limits."""
    observation_clip: float | None = None
    """Clip of the normalised observation; None for no clip."""


class DiffusionPolicy(nn.Module):
    """Policy that samples an action from noise with a learned denoiser.

    Attributes:
        config: sizes and schedule.
        denoiser: ε̂(observation, x, t), with the network of a flow's velocity.
        levels: noise schedule.
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
        """Set normalisers and bounds.

        Args:
            observations: raw. Shape (M, O).
            actions: in robot units. Shape (M, A).
            signals: signals of the action.
        """
        self.observation_mean, self.observation_std = moments(observations)
        self.action_mean, self.action_std = moments(actions)
        self.low, self.high = torch.from_numpy(lows(signals)), torch.from_numpy(highs(signals))

    @property
    def clip(self) -> float:
        """Clip of the normalised observation; infinite without one."""
        return math.inf if self.config.observation_clip is None else self.config.observation_clip

    def normalise(self, observation: Tensor) -> Tensor:
        """Map raw units to unit scale, clipped. Shape (B, O)."""
        unit = (observation - self.observation_mean) / self.observation_std
        return unit if math.isinf(self.clip) else unit.clamp(-self.clip, self.clip)

    def normalise_action(self, action: Tensor) -> Tensor:
        """Map robot units to unit scale. Shape (B, A)."""
        return (action - self.action_mean) / self.action_std

    def sample(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> Tensor:
        """Denoise to actions in robot units, within the bounds.

        Args:
            observation: raw. Shape (B, O).
            noise: N(0, I), or zeros for one deterministic action; S draws in the order of use. Shape (B, S, D).
            t_grid: S + 1 times, by `levels.t_grid(S)`.

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
