"""Real-time chunking on the server: what a new chunk must agree with.

The chunk for an observation at tick q is needed while the robot still plays the previous one, of tick q - s: its
actions from s on are executed until the new chunk arrives. The policy therefore gets them as `previous`, with a
weight for each as `frozen` (Black et al., arXiv 2506.07339, eq. 5):

    1                            i < d             played while the answer is on its way
    c (e^c - 1) / (e - 1)        d <= i < H - s    c = (H - s - i) / (H - s - d + 1)
    0                            H - s <= i        the previous chunk has no such action

d is the manifest's `frozen`; s follows from the observations' numbers, so the wire carries nothing new. The
previous chunk is assumed to have arrived: if its reply was lost, the robot holds, and the new chunk continues
what was not played.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_NOTHING = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)


class PreviousChunk:
    """A session's last answer. Ticks are identified by (policy epoch, episode, seq)."""

    def __init__(self) -> None:
        self._number = self._requested = (-1, -1, -1)  # the last answered tick, and the last requested one
        self._given = self._inputs = _NOTHING  # for these ticks
        self._answer, self._frozen = _NOTHING[0], 0

    def before(self, epoch: int, episode: int, seq: int) -> tuple[Floats, Floats]:
        """Return the chunk that a tick's chunk has to agree with, and its weights.

        Both are read-only. Shapes (H, A), (H,); or (1, 1), (1,) for all zeros, if there is nothing to agree with.
        A tick that was answered already gets the same again.
        """
        number = epoch, episode, seq
        if number != self._requested:
            self._inputs, self._requested = self._continued(epoch, episode, seq), number
        return self._inputs

    def commit(self, epoch: int, episode: int, seq: int, answer: Floats, frozen: int) -> None:
        """Record the answer of a tick, (H, A), by a policy with that d.

        Older ticks are no longer played.
        """
        if (epoch, episode) != self._number[:2] or seq >= self._number[2]:
            self._given = self.before(epoch, episode, seq)
            self._answer, self._frozen, self._number = answer.copy(), frozen, (epoch, episode, seq)

    def _continued(self, epoch: int, episode: int, seq: int) -> tuple[Floats, Floats]:
        played = seq - self._number[2]
        if (epoch, episode) != self._number[:2] or not 0 <= played < len(self._answer):
            return _NOTHING
        if played == 0:
            return self._given
        previous = np.concatenate([self._answer[played:], np.zeros_like(self._answer[:played])])
        return previous, frozen_weights(len(previous), self._frozen, played)


def frozen_weights(horizon: int, frozen: int, played: int) -> Floats:
    """Return the weights for H, d and s, with d at most H - s. Shape (H,).

    The module's docstring has the formula.
    """
    left = max(0, horizon - played)
    frozen = min(frozen, left)
    weights = np.zeros(horizon, np.float32)
    c = (left - np.arange(frozen, left)) / (left - frozen + 1)
    weights[:frozen], weights[frozen:left] = 1, c * np.expm1(c) / (math.e - 1)
    return weights
