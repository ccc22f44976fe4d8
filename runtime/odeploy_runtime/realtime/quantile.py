"""Running estimate of a quantile: one number that follows the measurements.

Stochastic approximation in logarithms (Robbins and Monro, 1951): the estimate rises by a share q of the gain for
each measurement above it, falls by 1 - q for each one below, and so rests where a share q lies below.
"""


class Quantile:
    """Estimate of a quantile of positive measurements.

    Attributes:
        value: the estimate.
    """

    def __init__(self, q: float, first: float, gain: float = 0.05) -> None:
        """Begin with a guess.

        Args:
            q: share of the measurements below the estimate.
            first: first estimate, above 0.
            gain: relative change by one measurement, at most.
        """
        self._rise, self._fall = 1 + gain * q, 1 - gain * (1 - q)
        self.value = first

    def add(self, measured: float) -> None:
        """Add a measurement."""
        self.value *= self._rise if measured > self.value else self._fall
