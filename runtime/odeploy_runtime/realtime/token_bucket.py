"""A token bucket: how often somebody may do something, with room for a burst.

Kept as one integer, the time at which the bucket would be full again (the "virtual scheduling" form of the
leaky bucket, ITU-T I.371): nothing accumulates and nothing drifts.
"""


class TokenBucket:
    """Full at first; refills evenly."""

    def __init__(self, rate_hz: float, burst: int) -> None:
        """Holds `burst` tokens and gets `rate_hz` of them each second."""
        self._interval_ns = round(1e9 / rate_hz)
        self._room_ns = (burst - 1) * self._interval_ns
        self._full_ns = 0

    def take(self, now_ns: int) -> bool:
        """Takes a token if there is one."""
        full_ns = max(self._full_ns, now_ns)
        if full_ns - now_ns > self._room_ns:
            return False
        self._full_ns = full_ns + self._interval_ns
        return True

    def is_full(self, now_ns: int) -> bool:
        """Whether it is as good as new."""
        return self._full_ns <= now_ns
