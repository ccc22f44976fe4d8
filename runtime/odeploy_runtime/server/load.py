"""The load of a server: the time that answers take, and missed deadlines.

A stream costs its rate × an answer's time without another message: thousands of inferences a second for two
messages. So a stream is admitted only if all streams then take no more than a given share of a core, counted with
the 99th percentile of an answer. Requests are limited by the rate of messages; they count as measured.
"""

from collections import deque
from typing import NamedTuple

from odeploy_runtime.realtime.quantile import Quantile

_QUANTILE = 0.99
# First guess of an answer: an idle core's call takes several times a hot one's, and the frames around it 100 µs.
_COLD_FACTOR, _FRAMES_NS = 6, 100_000
_MISSED = 0.05
_WINDOW_NS = 1_000_000_000
_PRE_TOUCH_BELOW = 1 / 3  # of the limit: a tick with pre-touch takes three answers' time


class _Look(NamedTuple):
    at_ns: int
    requests_ns: int
    ticks: int
    skipped: int


class Load:
    """Load of one server.

    Attributes:
        most: limit of the load, as a share of a core.
        streams_hz: ticks per second of all admitted streams; those that ended since the last check included.
        requests: share of a core that requests took in the last second.
    """

    def __init__(self, most: float, hot_call_ns: int, now_ns: int) -> None:
        self.most, self.streams_hz, self.requests = most, 0.0, 0.0
        self._requests_ns = self._ticks = self._skipped = 0
        self._looks = deque([_Look(now_ns, 0, 0, 0)])
        self._missed = 0.0
        self.renew(hot_call_ns)

    def renew(self, hot_call_ns: int) -> None:
        """Begin to measure another policy, from the duration of its shortest call."""
        self._answer_ns = Quantile(_QUANTILE, _COLD_FACTOR * hot_call_ns + _FRAMES_NS)

    @property
    def value(self) -> float:
        """Share of a core for all admitted sessions."""
        return self.streams_hz * self._answer_ns.value * 1e-9 + self.requests

    @property
    def meets_deadlines(self) -> bool:
        """Whether the load is within its limit, and streams meet their deadlines."""
        return self.value <= self.most and self._missed <= _MISSED

    @property
    def leaves_room_for_pre_touch(self) -> bool:
        """Whether pre-touch runs keep the load within its limit."""
        return self.value < _PRE_TOUCH_BELOW * self.most

    def refusal(self, streams_hz: float) -> str | None:
        """Return why streams of this total rate exceed the limit; None if they do not."""
        load = streams_hz * self._answer_ns.value * 1e-9 + self.requests
        if load <= self.most:
            return None
        return (
            f"expected a load of at most {self.most:g} of a core, got {load:.3g} with this stream "
            f"({streams_hz:g} ticks/s × {self._answer_ns.value * 1e-3:.0f} µs + requests {self.requests:.2f}); "
            "choose a lower rate or another server"
        )

    def add_request(self, took_ns: int) -> None:
        """Add the time of a request's answer."""
        self._requests_ns += took_ns
        self._answer_ns.add(took_ns)

    def add_tick(self, took_ns: int, skipped: int) -> None:
        """Add the time of a stream's tick, and the number of ticks skipped after it."""
        self._ticks += 1
        self._skipped += skipped
        self._answer_ns.add(took_ns)

    def look(self, now_ns: int) -> None:
        """Measure the last second; called several times in it."""
        looks = self._looks
        now = _Look(now_ns, self._requests_ns, self._ticks, self._skipped)
        looks.append(now)
        while len(looks) > 2 and now_ns - looks[1].at_ns >= _WINDOW_NS:
            looks.popleft()
        then = looks[0]
        self.requests = (now.requests_ns - then.requests_ns) / max(_WINDOW_NS, now_ns - then.at_ns)
        due = now.ticks + now.skipped - then.ticks - then.skipped
        self._missed = (now.skipped - then.skipped) / due if due else 0.0
