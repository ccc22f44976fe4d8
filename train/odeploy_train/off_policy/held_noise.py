"""Exploration noise that is held for several ticks, so that actions persist.

A sparse reward is met by motions, not by jitter: random actions held for 30 ticks met the kitchen's kettle five
times as often as fresh ones (docs/decisions.md).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Draw = Callable[[int], Tensor]
"""Number of rows -> fresh noise, one row for each."""


class HeldNoise:
    """Noise of parallel environments, redrawn every h ticks and in a new episode.

    Args:
        envs: number of environments E.
        ticks: h.
        draw: draws fresh rows.
    """

    def __init__(self, envs: int, ticks: int, draw: Draw) -> None:
        self._ticks, self._draw = ticks, draw
        self._left = torch.zeros(envs, dtype=torch.long)
        self._held: Tensor | None = None

    def tick(self) -> Tensor:
        """Return this tick's noise. Shape (E, ...)."""
        due = self._left == 0
        count = int(due.sum())
        if count:
            fresh = self._draw(count)
            if self._held is None:
                self._held = fresh.clone()
            else:
                self._held = self._held.clone()  # callers may keep an earlier tick's
                self._held[due] = fresh
        self._left[due] = self._ticks
        self._left -= 1
        assert self._held is not None
        return self._held

    def restart(self, ended: Tensor) -> None:
        """Redraw at the next tick where an episode ended. Shape (E,), boolean."""
        self._left[ended] = 0
