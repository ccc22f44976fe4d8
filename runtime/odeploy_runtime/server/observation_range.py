"""Whether an observation is like those that a policy was exported with.

A network answers any numbers, and far outside of what it was trained on its answers mean nothing. The manifest
has the range of each signal among the observations that the exporter was given. A signal is far outside where
it lies beyond that range by more than so many of its widths. Who answers then anyway, says so.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.policy_file.manifest import Manifest

WIDTHS = 1.0
_LEAST = 1e-3  # of a width, relative to the numbers: a signal that never changed has none


class Familiar:
    """Of one policy; one without ranges finds everything familiar.

    Attributes:
        stranger: the signal that was found last.
    """

    def __init__(self, manifest: Manifest, widths: float = WIDTHS) -> None:
        """Looks for signals.

        Args:
            manifest: of the policy.
            widths: beyond its range, from which on a signal is far outside.
        """
        self.stranger = ""
        self._names = manifest.observation_names
        ranges = manifest.observed or ((0.0, np.inf),) * len(self._names)
        low, high = np.array(ranges, np.float64).T
        if manifest.observed is None:
            low = -high
        width = np.maximum(high - low, _LEAST * np.maximum(1, np.abs(low)))
        self._low = (low - widths * width).astype(np.float32)
        self._high = (high + widths * width).astype(np.float32)
        self._inside = np.zeros(len(self._names), np.float32)
        self._below, self._above = np.zeros((2, len(self._names)), np.bool_)

    def __call__(self, observation: NDArray[np.float32]) -> bool:
        """Whether no signal is far outside. Shape (O,)."""
        np.minimum(np.maximum(observation, self._low, out=self._inside), self._high, out=self._inside)
        if self._inside.tobytes() == observation.tobytes():  # as nearly always; a zero may have changed its sign
            return True
        np.less(observation, self._low, out=self._below)
        np.greater(observation, self._high, out=self._above)
        np.logical_or(self._below, self._above, out=self._below)
        if not self._below.any():
            return True
        self.stranger = self._names[int(self._below.argmax())]
        return False
