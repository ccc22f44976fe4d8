"""Denoising diffusion: noise schedules, the ε-loss, the ancestral sampler.

DDPM (arXiv 2006.11239) adds noise step by step:

    q(x_k | x_0) = N(√ᾱ_k x_0, (1 - ᾱ_k) I),    k = 0 data ... T noise,    ᾱ_0 = 1

The denoiser sees the project's time t = 1 - k/T, from 0 (noise) to 1 (action), so it can use a flow's network. A
sampler may visit a part of the steps: the posterior below holds for any two noise levels. For neighbours it is
DDPM's own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Literal

import torch
from torch import Tensor

from odeploy_runtime.errors import UsageError

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
ScheduleName = Literal["cosine", "linear"]

# Where the cosine reaches 0, the first step of a sampler divides by √(1 - β). A rounding error grows 32-fold with
# 0.999, the value of the schedule's paper (arXiv 2102.09672), and 100-fold with FM-IRL's 0.9999.
BETA_MAX = 0.999


@dataclass(frozen=True)
class Schedule:
    """Remaining signal after each noise step, in float64.

    Attributes:
        alpha_bar: ᾱ_0 = 1 to ᾱ_T, falling.
    """

    alpha_bar: tuple[float, ...]

    @classmethod
    def of_betas(cls, betas: Sequence[float]) -> "Schedule":
        """Make a schedule of β_1 to β_T, each clipped to `BETA_MAX`."""
        return cls(tuple(accumulate((1 - min(beta, BETA_MAX) for beta in betas), mul, initial=1.0)))

    @property
    def steps(self) -> int:
        """Noise steps T."""
        return len(self.alpha_bar) - 1

    def time(self, k: int) -> float:
        """Return the time t of step k."""
        return 1 - k / self.steps

    def step(self, t: float) -> int:
        """Return the step k of time t."""
        return round((1 - t) * self.steps)

    def t_grid(self, steps: int) -> tuple[float, ...]:
        """Return the S + 1 times of a sampler with S evenly spaced steps.

        The last step is k = 1, then come the data.

        With S < T it begins at k = T - T/S + 1 instead of T. There the signal is almost gone too, but 1/√ᾱ,
        by which the denoiser's error is multiplied, is moderate (cosine, T = 1000, S = 100: 71, not 20,000).

        Raises:
            UsageError: S is not from 1 to T.
        """
        if not 1 <= steps <= self.steps:
            raise UsageError(
                where="steps",
                expected=f"from 1 to {self.steps}, the steps that the diffusion was trained with",
                got=str(steps),
                remedy="choose a number in this range",
            )
        return (*(self.time(i * self.steps // steps + 1) for i in reversed(range(steps))), 1.0)


def cosine(steps: int) -> Schedule:
    """Return ᾱ_k ∝ cos²((k/T + s) / (1 + s) · π/2), s = 0.008.

    As in arXiv 2102.09672, eq. 17, and in FM-IRL.
    """

    def level(k: int) -> float:
        return math.cos((k / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    return Schedule.of_betas([1 - level(k) / level(k - 1) for k in range(1, steps + 1)])


def linear(steps: int) -> Schedule:
    """Return β from 1e-4 to 0.02 over 1000 steps (arXiv 2006.11239).

    Fewer steps are scaled to end at the same noise.
    """
    scale = 1000 / steps
    return Schedule.of_betas([scale * (1e-4 + (0.02 - 1e-4) * i / max(1, steps - 1)) for i in range(steps)])


def schedule(name: ScheduleName, steps: int) -> Schedule:
    """Return the named schedule with T steps."""
    return {"cosine": cosine, "linear": linear}[name](steps)


def epsilon_loss(
    denoiser: Denoiser,
    alpha_bar: Tensor,
    observation: Tensor,
    x0: Tensor,
    generator: torch.Generator,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean of w (ε̂(observation, x_k, t) - ε)².

    The mean is over rows and dimensions; each row has one draw of (ε, k).

    Args:
        denoiser: (observation, x, t) -> ε̂, such as a `VelocityNet`.
        alpha_bar: ᾱ_0 to ᾱ_T. Shape (T + 1,).
        observation: normalised. Shape (B, O).
        x0: action in unit scale. Shape (B, D).
        generator: draws ε, then k, uniform over 1 to T.
        weights: w; default: 1. Shape (B,).
    """
    T = len(alpha_bar) - 1
    epsilon = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    k = torch.randint(1, T + 1, (len(x0),), generator=generator)
    x = noised(x0, epsilon, alpha_bar[k][:, None])
    error = (denoiser(observation, x, (1 - k / T).to(x0.dtype)) - epsilon).square()
    return (error if weights is None else weights[:, None] * error).mean()


def noised(x0: Tensor, epsilon: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return √ᾱ x_0 + √(1 - ᾱ) ε. Shapes (B, D), (B, D), (B, 1) -> (B, D)."""
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * epsilon


@dataclass(frozen=True)
class Posterior:
    """Posterior of a lower noise level, by arXiv 2006.11239, eq. 7.

        q(x_next | x, x_0) = N(√ᾱ_next ((1 - keep) x_0 + keep x / √ᾱ), std² I)

    For any two noise levels, with α = ᾱ / ᾱ_next. For neighbours ᾱ_next = ᾱ_{k-1} and std² = β̃_k.

    Attributes:
        keep: α (1 - ᾱ_next) / (1 - ᾱ); 0 in the last step, which returns x_0.
        std: √((1 - ᾱ_next) / (1 - ᾱ) · (1 - α)); 0 in the last step.
    """

    keep: float
    std: float


def posterior(alpha_bar: float, alpha_bar_next: float) -> Posterior:
    """Return the posterior of a lower noise level."""
    alpha, rest = alpha_bar / alpha_bar_next, (1 - alpha_bar_next) / (1 - alpha_bar)
    return Posterior(alpha * rest, math.sqrt(rest * (1 - alpha)))


def ancestral(
    epsilon: Callable[[float, Tensor], Tensor],
    noise: Tensor,
    levels: Schedule,
    t_grid: Sequence[float],
    bound: Callable[[Tensor], Tensor] = lambda x0: x0,
) -> Tensor:
    """Integrate noise to data: S steps, S draws.

    Args:
        epsilon: denoiser at (t, x).
        noise: draw 0 is x at t_grid[0], draw i is added by step i; the last step adds none. Shape (B, S, D).
        levels: schedule of the denoiser's training.
        t_grid: S + 1 times, by `Schedule.t_grid`.
        bound: applied to each predicted x_0.

    Returns:
        Shape (B, D).
    """
    alpha_bar = [levels.alpha_bar[levels.step(t)] for t in t_grid]
    x = noise[:, 0]
    for i in range(len(t_grid) - 1):
        now, following = alpha_bar[i], alpha_bar[i + 1]
        x0 = bound((x - math.sqrt(1 - now) * epsilon(t_grid[i], x)) / math.sqrt(now))
        p = posterior(now, following)
        x = math.sqrt(following) * ((1 - p.keep) * x0 + p.keep / math.sqrt(now) * x)
        if i + 1 < noise.shape[1]:
            x = x + p.std * noise[:, i + 1]
    return x
