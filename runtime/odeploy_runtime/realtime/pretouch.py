"""Pre-touch: rehearse shortly before a message is expected, so that it meets warm caches and an awake core.

The rehearsal must end well before the message comes; one that overlaps it costs more than it saves. So both
sides of that are measured while serving: when messages really come, and how long a rehearsal really takes.
"""

from collections.abc import Callable

from odeploy_runtime.realtime.clock import Clock

_REHEARSALS = 2
_MARGIN_NS = 120_000
_ROOM = 0.7  # a rehearsal may begin this share of a period ahead, not more
_COLD_FACTOR = 6  # first guess: the call after an idle stretch is several times slower than a hot one
_DRIFT_NS = 1_000
_QUANTILE, _GAIN = 0.9, 0.05


class Arrivals:
    """Predicts a robot's next message.

    Its stamps say when it sent; the shortest way that a message took says when one comes if nothing holds it
    up. A busy server thus never mistakes its own delay for a shift of the robot's clock. Only differences of
    each clock are used, so the two need not agree.
    """

    def __init__(self) -> None:
        self._shortest_way_ns: int | None = None

    def next_ns(self, sent_ns: int, received_ns: int, period_ns: int) -> int:
        """When the message after this one is expected, on the receiver's clock."""
        way_ns = received_ns - sent_ns
        if self._shortest_way_ns is not None:
            way_ns = min(way_ns, self._shortest_way_ns + _DRIFT_NS)
        self._shortest_way_ns = way_ns
        return sent_ns + way_ns + period_ns


class PreTouch:
    """When to begin a rehearsal, and the rehearsal itself."""

    def __init__(self, hot_call_ns: int, clock: Clock) -> None:
        self._clock = clock
        self._takes_ns = _COLD_FACTOR * hot_call_ns

    def begin_ns(self, expected_ns: int, period_ns: int) -> int | None:
        """When to begin for a message expected then; None where the period leaves no room."""
        lead_ns = self._takes_ns + _MARGIN_NS
        return expected_ns - lead_ns if lead_ns < _ROOM * period_ns else None

    def run(self, rehearse: Callable[[], object]) -> None:
        """Rehearses twice, and learns from it how long nine of ten take; the tenth may overlap a message."""
        start_ns = self._clock.now_ns()
        for _ in range(_REHEARSALS):
            rehearse()
        took_ns = self._clock.now_ns() - start_ns
        step = _QUANTILE if took_ns > self._takes_ns else _QUANTILE - 1
        self._takes_ns = round(self._takes_ns * (1 + _GAIN * step))
