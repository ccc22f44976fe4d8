"""The flight recorder: dumps the last 10 s of a run when something goes wrong.

It records nothing itself: the ring that carries rows to the trace still holds the latest ones, even after the
robot's process died. A dump is a trace like any other.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.realtime.ring import Ring
from odeploy_runtime.safety.states import State
from odeploy_runtime.trace.format import SKIPPED
from odeploy_runtime.trace.writer import TraceFile

_DUMP_S = 10.0
_FEWEST_ROWS = 64
_PIECE_ROWS = 256
_MOST_DUMPS = 6  # per run: the first faults tell most, and a disk is soon full


def dump_rows(rate_hz: float) -> int:
    """Return the largest number of rows in a dump."""
    return max(_FEWEST_ROWS, math.ceil(_DUMP_S * rate_hz))


def ring_rows(rate_hz: float) -> int:
    """Return the ring's capacity: twice the rows of a dump.

    No row is then overwritten while being copied.
    """
    return 2 * dump_rows(rate_hz)


class FlightRecorder:
    """Detector of faults in passing rows, with a dump of what preceded each."""

    def __init__(self, ring: Ring, file: TraceFile, beside: Path) -> None:
        """Watch a ring.

        Args:
            ring: ring with the latest rows.
            file: file of the trace, for its header.
            beside: path of the dumps, which get `.fault-1` and so on appended.
        """
        self._ring, self._head, self._beside = ring, file.head, beside
        self._count = dump_rows(file.header.rate_hz)
        self._state, self._dumps = int(State.RUN), 0

    def fault(self, rows: NDArray[np.void]) -> str | None:
        """Return the first transition to SAFE or STOP among these rows, in words.

        Return None without one.
        """
        ran = rows[rows["kind"] != SKIPPED]
        before = np.concatenate([[self._state], ran["state"]])
        self._state = int(before[-1])
        worse = ran[(ran["state"] >= State.SAFE) & (ran["state"] > before[:-1])]
        if not len(worse):
            return None
        return f"{State(worse[0]['state']).name} in episode {worse[0]['episode']}, tick {worse[0]['tick']}"

    def dump(self, last: int) -> Path | None:
        """Write the rows before `last` under the next free name.

        Return None without rows, or after six dumps.

        Raises:
            UsageError: the path cannot be written, or the disk is full.
        """
        if self._dumps == _MOST_DUMPS:
            return None
        if not self._ring.newest(1, last):
            return None
        names = (self._beside.with_name(f"{self._beside.name}.fault-{n}") for n in itertools.count(1))
        path = next(name for name in names if not name.exists())
        write_whole(path, itertools.chain([self._head], self._rows(last)))
        self._dumps += 1
        return path

    def _rows(self, last: int) -> Iterator[bytes]:
        """Yield the rows before `last`, a few at a time: all at once would be megabytes."""
        for begin in range(max(0, last - self._count), last, _PIECE_ROWS):
            end = min(begin + _PIECE_ROWS, last)
            yield self._ring.newest(end - begin, end)
