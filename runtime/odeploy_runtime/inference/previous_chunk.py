"""Real-time chunking on the server's side: what a new chunk must agree with of the chunk that the robot plays.

The chunk of an observation at tick q is needed while the one before, of tick q - s, is still played: its actions
from s on are what the robot does until the new one arrives. So the policy is given them as `previous`, and a
weight for each as `frozen` (Black et al., arXiv 2506.07339, eq. 5):

    1                            i < d             played while the answer is on its way
    c (e^c - 1) / (e - 1)        d <= i < H - s    c = (H - s - i) / (H - s - d + 1)
    0                            H - s <= i        the chunk before has no such action

d is the manifest's `frozen`; s is known from the numbers of the observations, so the wire says nothing new. That
the chunk before has arrived is taken for granted: where its reply was lost, the robot holds and the new one
continues what was not played.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_NOTHING = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)


class Continuation:
    """What a session remembers of its last answer. Ticks are named by (policy epoch, episode, seq)."""

    def __init__(self) -> None:
        self._number = (-1, -1, -1)  # of the last tick that was answered
        self._given = _NOTHING
        self._answer, self._frozen = _NOTHING[0], 0

    def before(self, epoch: int, episode: int, seq: int) -> tuple[Floats, Floats]:
        """What the chunk of a tick has to agree with, and how much; not to be written to.

        Shapes (H, A), (H,); or (1, 1), (1,) for all zeros, where there is nothing to agree with. A tick that was
        answered already is given the same again.
        """
        played = seq - self._number[2]
        if (epoch, episode) != self._number[:2] or not 0 <= played < len(self._answer):
            return _NOTHING
        if played == 0:
            return self._given
        previous = np.concatenate([self._answer[played:], np.zeros_like(self._answer[:played])])
        return previous, frozen_weights(len(previous), self._frozen, played)

    def keep(self, epoch: int, episode: int, seq: int, answer: Floats, frozen: int) -> None:
        """This tick has been answered so, (H, A), by a policy of that d; an older tick is not played any more."""
        if (epoch, episode) != self._number[:2] or seq >= self._number[2]:
            self._given = self.before(epoch, episode, seq)
            self._answer, self._frozen, self._number = answer.copy(), frozen, (epoch, episode, seq)


def frozen_weights(horizon: int, frozen: int, played: int) -> Floats:
    """The weights W of the module's docstring for H, d and s, with d at most H - s. Shape (H,)."""
    left = max(0, horizon - played)
    frozen = min(frozen, left)
    weights = np.zeros(horizon, np.float32)
    c = (left - np.arange(frozen, left)) / (left - frozen + 1)
    weights[:frozen], weights[frozen:left] = 1, c * np.expm1(c) / (math.e - 1)
    return weights
