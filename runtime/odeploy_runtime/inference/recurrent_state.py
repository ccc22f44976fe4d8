"""The state of a recurrent policy on its way through one robot's episode.

It goes on by one step with every observation that is answered, and starts from zeros with each episode, each
session and each exchanged policy. What does not go as planned:

- A tick that was skipped, or whose observation was lost: the policy never saw it, and its state does not move.
- A reply that came too late: the state has moved, although the robot held its last command instead. What that
  did to the robot is in its next observation; nothing is taken back.
- An observation that is asked again, as streams and rehearsals do, gives the same action: it is answered from
  the state before it, and the state moves once.
- One that is older than the last answered is answered from the present state, which it does not move.
"""

import numpy as np
from numpy.typing import NDArray

_ZERO = np.zeros(1, np.float32)


class Recurrence:
    """What a session remembers for a recurrent policy; for every other one the state has no numbers.

    Ticks are named by (policy epoch, episode, seq).
    """

    def __init__(self) -> None:
        self._number = (-1, -1, -1)  # of the last tick that was answered
        self._before = self._after = _ZERO

    def before(self, epoch: int, episode: int, seq: int) -> NDArray[np.float32]:
        """The state from which a tick is answered; not to be written to. Shape (S,), or (1,) for all zeros."""
        if seq == 0 or (epoch, episode) != self._number[:2]:
            return _ZERO
        return self._before if seq == self._number[2] else self._after

    def keep(self, epoch: int, episode: int, seq: int, after: NDArray[np.float32]) -> None:
        """Moves on: this tick has been answered, and left that state. Shape (S,)."""
        number = epoch, episode, seq
        if seq == 0 or number[:2] != self._number[:2] or seq >= self._number[2]:
            self._before, self._after = self.before(*number), after.copy()
            self._number = number
