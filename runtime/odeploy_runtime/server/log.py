"""The server's log: lines for its operator, only so many a second.

A line costs the loop more than an inference. Whoever makes the server complain must not stop it by that, and
what a stranger calls itself must neither fill the log nor speak to the terminal that shows it.
"""

from collections.abc import Callable

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.token_bucket import TokenBucket

_LINES_HZ, _BURST = 10.0, 40
_CHARACTERS = 500
_REPEATED_NS = 5_000_000_000


class Journal:
    """Passes lines on; the same one again within 5 s, and what is too much, is counted in the next that is not."""

    def __init__(self, say: Callable[[str], None], clock: Clock) -> None:
        self._say, self._clock = say, clock
        self._bucket, self._left_out = TokenBucket(_LINES_HZ, _BURST), 0
        self._last, self._last_ns = "", 0

    def __call__(self, line: str) -> None:
        """Says a line, or counts it."""
        now_ns = self._clock.now_ns()
        repeated = line == self._last and now_ns - self._last_ns < _REPEATED_NS
        if repeated or not self._bucket.take(now_ns):
            self._left_out += 1
            return
        self._last, self._last_ns = line, now_ns
        before = f" ({self._left_out} lines left out before this one)" if self._left_out else ""
        self._left_out = 0
        shown = line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]}…"
        self._say("".join(c if c.isprintable() else "?" for c in shown) + before)
