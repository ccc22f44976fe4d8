"""Token bucket: rate limiter with room for a burst.

Stored as one integer, the time at which the bucket would be full again (the "virtual scheduling" form of the leaky
bucket, ITU-T I.371): nothing accumulates and nothing drifts.
"""


class TokenBucket:
    """Token bucket, initially full; refills evenly."""

    def __init__(self, rate_hz: float, burst: int) -> None:
        """Create a bucket of `burst` tokens that gains `rate_hz` tokens per second."""
        self._interval_ns = round(1e9 / rate_hz)
        self._room_ns = (burst - 1) * self._interval_ns
        self._full_ns = 0

    def take(self, now_ns: int) -> bool:
        """Take a token; return whether there was one."""
        full_ns = max(self._full_ns, now_ns)
        if full_ns - now_ns > self._room_ns:
            return False
        self._full_ns = full_ns + self._interval_ns
        return True

    def is_full(self, now_ns: int) -> bool:
        """Return whether the bucket is full."""
        return self._full_ns <= now_ns
