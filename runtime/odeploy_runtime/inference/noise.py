"""Noise by number: a tick's draw depends on (seed, episode, seq) alone.

A counter-based generator has no history, so a replay needs no state, a lost tick shifts nothing, and two robots
with the same seed get the same draws. NumPy's Philox4x64-10 with key (seed, 0) and counter (0, 0, episode,
seq), and its ziggurat normals in float32.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.policy_file.manifest import Noise


class NoiseSource:
    """Source of the `noise` input of a policy; one object a session."""

    def __init__(self, noise: Noise, seed: int) -> None:
        self._mode, self._shape = noise.mode, (1, *noise.shape)
        self._zeros = np.zeros(self._shape, np.float32)
        self._bits = np.random.Philox(key=[seed, 0])
        self._normal = np.random.Generator(self._bits)
        self._state = self._bits.state  # written back with a new counter: 3 µs, a new generator takes 25
        self._number, self._drawn = (-1, -1), self._zeros

    def draw(self, episode: int, seq: int) -> NDArray[np.float32]:
        """Return the noise of one tick, the same for every call; not to be written to.

        Shape (1, N, S, D); empty for mode `none`, zeros for `zero`.
        """
        if self._mode != "normal":
            return self._zeros
        if (episode, seq) != self._number:  # else it was drawn ahead
            counter = self._state["state"]["counter"]
            counter[2], counter[3] = episode, seq
            self._bits.state = self._state
            self._drawn = self._normal.standard_normal(self._shape, dtype=np.float32)
            self._number = episode, seq
        return self._drawn
