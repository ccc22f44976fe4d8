"""The state of a recurrent policy through one robot's episode.

The state advances by one step with every answered observation, and starts from zeros with each episode, each
session and each swapped policy. Special cases:

- A skipped tick, or a lost observation: the policy does not see it, and the state does not advance.
- A reply that arrives too late: the state has advanced, although the robot held its last command instead. The
  robot's next observation shows what that did; nothing is taken back.
- A repeated observation, as in streams and pre-touch runs: it is answered from the state before it, so it gets the
  same action, and the state advances once.
- An observation older than the last answered one: it is answered from the present state, which does not advance.
"""

import numpy as np
from numpy.typing import NDArray

_ZERO = np.zeros(1, np.float32)


class RecurrentState:
    """A session's recurrent state.

    Ticks are identified by (policy epoch, episode, seq).
    """

    def __init__(self) -> None:
        self._number = (-1, -1, -1)  # of the last answered tick
        self._before = self._after = _ZERO

    def before(self, epoch: int, episode: int, seq: int) -> NDArray[np.float32]:
        """Return the state from which to answer a tick; not to be written to.

        Shape (S,), or (1,) for all zeros.
        """
        if seq == 0 or (epoch, episode) != self._number[:2]:
            return _ZERO
        return self._before if seq == self._number[2] else self._after

    def commit(self, epoch: int, episode: int, seq: int, after: NDArray[np.float32]) -> None:
        """Advance to the state that the answer of a tick left. Shape (S,)."""
        number = epoch, episode, seq
        if seq == 0 or number[:2] != self._number[:2] or seq >= self._number[2]:
            self._before, self._after = self.before(*number), after.copy()
            self._number = number
