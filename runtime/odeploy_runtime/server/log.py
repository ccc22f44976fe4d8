"""Rate limit of the log lines that other processes can cause.

A line costs the loop more than an inference. A faulty robot must therefore not slow the server down by causing
lines, nor fill the log with a long name. Lines of the operator's own requests always pass.
"""

import logging

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.token_bucket import TokenBucket

_LINES_HZ, _BURST = 10.0, 40
_CHARACTERS = 500
_REPEATED_NS = 5_000_000_000
_LIMITED = ("odeploy_runtime.server.", "odeploy_runtime.transport.")


class RateLimit(logging.Filter):
    """Filter of a log handler: drops repeated and excess lines.

    The next line that passes has their number.

    A line is repeated if it equals the one before, within 5 s.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._bucket, self._left_out = TokenBucket(_LINES_HZ, _BURST), 0
        self._last, self._last_ns = "", 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; one that passes is shortened to 500 characters."""
        if not record.name.startswith(_LIMITED):
            return True
        now_ns, line = self._clock.now_ns(), record.getMessage()
        repeated = line == self._last and now_ns - self._last_ns < _REPEATED_NS
        if repeated or not self._bucket.take(now_ns):
            self._left_out += 1
            return False
        self._last, self._last_ns = line, now_ns
        before = f" ({self._left_out} lines left out before this one)" if self._left_out else ""
        self._left_out = 0
        shown = line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]}…"
        record.msg, record.args = shown + before, ()
        return True
