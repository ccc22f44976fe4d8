"""Check of observations against the ranges that a policy was exported with.

A network answers any numbers; far outside its training data its answers are meaningless. The manifest has the
range of each signal among the observations that the exporter was given. A signal is out of range if it lies
beyond that range by more than a given number of its widths.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.policy_file.manifest import Manifest

_LEAST = 1e-3  # of a width, relative to the numbers: a constant signal has none


class ObservationRange:
    """Ranges of one policy's observations.

    Without ranges in its manifest everything passes.

    Attributes:
        out_of_range: the signal that failed the last failed check.
    """

    def __init__(self, manifest: Manifest, widths: float = 1.0) -> None:
        """Read a manifest's ranges.

        Args:
            manifest: manifest of the policy.
            widths: distance beyond a range, in its widths, from which on a signal is out of range.
        """
        self.out_of_range = ""
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

    def contains(self, observation: NDArray[np.float32]) -> bool:
        """Return whether all signals are in range. Shape (O,)."""
        np.minimum(np.maximum(observation, self._low, out=self._inside), self._high, out=self._inside)
        if self._inside.tobytes() == observation.tobytes():  # as nearly always; a zero may have changed its sign
            return True
        np.less(observation, self._low, out=self._below)
        np.greater(observation, self._high, out=self._above)
        np.logical_or(self._below, self._above, out=self._below)
        if not self._below.any():
            return True
        self.out_of_range = self._names[int(self._below.argmax())]
        return False
