"""Inputs of a parity check, and the golden rows among them.

They are recorded, random and edge observations, with noise.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from odeploy_runtime.policy_file.manifest import GoldenRow, Noise

Array = NDArray[np.float32]

RECORDED_ROWS = 128
"""Recorded observations that come first among the rows. Golden rows are taken from them."""
EDGE_STDS = (-10.0, -5.0, 0.0, 5.0, 10.0)
_RANDOM_ROWS = 64
_GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Rows:
    """Inputs on which a graph is compared with its references.

    Attributes:
        observation: raw units. Shape (M, O).
        noise: Shape (M, N, S, D); empty for a policy without noise.
    """

    observation: Array
    noise: Array

    def __len__(self) -> int:
        return len(self.observation)


class Normalised(Protocol):
    """Anything with the mean and standard deviation of its observations. Shape (O,)."""

    @property
    def observation_mean(self) -> Tensor:
        """Mean of each signal."""

    @property
    def observation_std(self) -> Tensor:
        """Standard deviation of each signal."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the observations of a training. Shape (O,)."""

    mean: NDArray[np.floating]
    std: NDArray[np.floating]

    @classmethod
    def of(cls, policy: Normalised) -> "Spread":
        """Take the numbers of a policy's normaliser."""
        return cls(policy.observation_mean.numpy(), policy.observation_std.numpy())


def check_rows(
    spread: Spread, recorded: Array, noise: Noise, seed: int = 0, edge_stds: Sequence[float] = EDGE_STDS
) -> Rows:
    """Return recorded, random and edge observations, in this order, with noise.

    Random ones have three times the recorded spread. In an edge row every signal lies at the same multiple of its
    standard deviation, up to ten.
    """
    rng = np.random.default_rng(seed)
    mean, std = spread.mean, spread.std
    random = mean + 3 * std * rng.standard_normal((_RANDOM_ROWS, len(mean)))
    edges = [mean + k * std for k in edge_stds]
    observation = np.concatenate([recorded, random, edges]).astype(np.float32)
    shape = (len(observation), *noise.shape)
    draws = rng.standard_normal(shape, np.float32) if noise.mode == "normal" else np.zeros(shape, np.float32)
    return Rows(observation, draws)


def edges_beyond(clip: float) -> tuple[float, ...]:
    """Return the edges for a clip of the normalised observation; infinite for none."""
    return (*EDGE_STDS, -2 * clip, 2 * clip) if math.isfinite(clip) else EDGE_STDS


def picked(recorded: Array, consecutive: bool) -> Array:
    """Return 128 recorded observations, spread evenly or of consecutive ticks.

    Shapes (M, O) -> (128, O).
    """
    last = len(recorded) - 1
    picks = (
        np.arange(RECORDED_ROWS) % (last + 1) if consecutive else np.linspace(0, last, RECORDED_ROWS).astype(int)
    )
    rows: Array = recorded[picks]
    return rows


def golden_picks(order: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return indices of golden rows: evenly spread, or first of an order. (8,)"""
    if order is not None:
        return np.sort(order[:_GOLDEN_ROWS])
    return np.linspace(0, RECORDED_ROWS - 1, _GOLDEN_ROWS).astype(np.int64)


def golden_rows(
    rows: Rows, picks: NDArray[np.int64], actions: Iterable[NDArray[np.float64]]
) -> tuple[GoldenRow, ...]:
    """Return the picked rows with their actions, flattened."""
    return tuple(
        GoldenRow(*(tuple(map(float, numbers.ravel())) for numbers in row))
        for row in zip(rows.observation[picks], rows.noise[picks], actions, strict=True)
    )
