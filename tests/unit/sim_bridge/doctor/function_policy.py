"""A policy made from a function, for checks without a file or a simulation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.policy_file.manifest import Manifest, Noise
from odeploy_runtime.signals import Signal
from tests.unit.runtime.fakes import manifest

Floats = NDArray[np.float32]


class FunctionPolicy:
    """Policy of observations x, y, speed and two actions in [-1, 1]; `act` has shape (3,) -> (2,)."""

    fingerprint, provider = "f" * 64, "function"
    golden_error, hot_call_ns = 0.0, 1_000

    def __init__(
        self,
        act: Callable[[Floats], Sequence[float] | NDArray[np.floating[Any]]],
        described: Manifest | None = None,
    ) -> None:
        self.manifest = described or plain()
        self._act = act
        self.state = np.zeros(self.manifest.state_size, np.float32)
        self.previous = np.zeros((self.manifest.horizon, len(self.manifest.action)), np.float32)
        self.frozen = np.zeros(self.manifest.horizon, np.float32)
        self.raw_action = np.zeros(0, np.float32)

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        return np.array([self._act(observation)], np.float32)

    def touch(self) -> None:
        raise AssertionError("unexpected pre-touch")

    def reset(self) -> None:
        self.state[:] = 0


def plain(low: float | None = -1.0, high: float | None = 1.0) -> Manifest:
    """Return the manifest of an MLP without golden rows."""
    action = Signal("motor_x", "N", low, high), Signal("motor_y", "N", low, high)
    return manifest(kind="mlp", noise=Noise("none"), sampler=None, golden=(), action=action)


def observations(rows: int = 40) -> Floats:
    """Return random observations with different spreads and no zeros. Shape (rows, 3)."""
    return (np.random.default_rng(0).standard_normal((rows, 3)) * (1, 2, 0.1) + (0.5, 0, 3)).astype(np.float32)
