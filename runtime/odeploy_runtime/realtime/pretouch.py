"""Pre-touch: dummy calls shortly before a message is expected.

The message then meets warm caches and an awake core.

A pre-touch run must end well before the message arrives; an overlap costs more than it saves. Both sides are
therefore measured while serving: the arrival of messages, and the duration of pre-touch runs.
"""

from collections.abc import Callable

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.quantile import Quantile

_CALLS = 2
_MARGIN_NS = 120_000
_ROOM = 0.7  # a run may begin at most this share of a period ahead
_COLD_FACTOR = 6  # first guess: a call after an idle time is several times slower than a hot one
_DRIFT_NS = 1_000
_QUANTILE = 0.9


class Arrivals:
    """Prediction of a robot's next message.

    A message's stamp gives its time of sending; the shortest transit so far gives the undelayed arrival. A busy
    server thus never mistakes its own delay for a shift of the robot's clock. Only differences on each clock are
    used, so the two clocks need not agree.
    """

    def __init__(self) -> None:
        self._shortest_transit_ns: int | None = None

    def next_ns(self, sent_ns: int, received_ns: int, period_ns: int) -> int:
        """Return the expected arrival of the next message, on the receiver's clock."""
        transit_ns = received_ns - sent_ns
        if self._shortest_transit_ns is not None:
            transit_ns = min(transit_ns, self._shortest_transit_ns + _DRIFT_NS)
        self._shortest_transit_ns = transit_ns
        return sent_ns + transit_ns + period_ns


class PreTouch:
    """Schedule of pre-touch runs."""

    def __init__(self, hot_call_ns: int, clock: Clock) -> None:
        self._clock = clock
        self._takes_ns = Quantile(_QUANTILE, _COLD_FACTOR * hot_call_ns)

    def begin_ns(self, expected_ns: int, period_ns: int) -> int | None:
        """Return when to begin for a message expected at `expected_ns`.

        Return None if the period is too short.
        """
        lead_ns = round(self._takes_ns.value) + _MARGIN_NS
        return expected_ns - lead_ns if lead_ns < _ROOM * period_ns else None

    def run(self, call: Callable[[], object]) -> None:
        """Call twice, and update the duration of nine in ten runs.

        The tenth may overlap a message.
        """
        start_ns = self._clock.now_ns()
        for _ in range(_CALLS):
            call()
        self._takes_ns.add(self._clock.now_ns() - start_ns)
