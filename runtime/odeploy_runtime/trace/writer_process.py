"""The writer process: moves a trace's rows from the ring buffer to the file.

It outlives the loop.

The loop touches no file: a slow or full disk, or the death of this process, costs rows but never a tick. If the
robot is killed, its rows stay in the ring and this process still writes them. Rows reach the file within half a
second; nothing protects against a loss of power.
"""

import contextlib
import logging
import select
import socket
import sys
from pathlib import Path

import numpy as np

from odeploy_runtime.errors import OdeployError
from odeploy_runtime.logging_options import configure, inherited
from odeploy_runtime.realtime.ring import ENDED, FAILED, Ring
from odeploy_runtime.trace.flight_recorder import FlightRecorder, ring_rows
from odeploy_runtime.trace.writer import TraceFile

log = logging.getLogger("odeploy_runtime.trace.writer_process")  # also when this module is `__main__`

READY = b"\x01"
_LOOK_MS = 200


class RowMover:
    """Transfer of rows from a ring to a file.

    Attributes:
        lost: rows that the disk did not accept.
    """

    def __init__(self, ring: Ring, file: TraceFile) -> None:
        self._ring, self._file = ring, file
        self.lost = 0

    def move(self, last: int) -> bytes:
        """Append the rows before `last` and return them.

        Count those that the disk does not accept.
        """
        taken, filed = self._ring.taken, self._file.rows
        rows = self._ring.read(taken, last)
        # A process killed between writing and marking rows as taken left rows in the file that count as not taken.
        new = rows[max(0, filed - taken) * self._ring.row_bytes :]
        try:
            self._file.append(new)
        except OSError as error:
            if not self.lost:
                log.warning(
                    "trace: %s; the run goes on, rows from %d on are lost", error.strerror, self._file.rows
                )
            self.lost += len(new) // self._ring.row_bytes - (self._file.rows - filed)
        self._ring.take(last)
        return rows

    def end(self) -> None:
        """Move the remaining rows, and record the number of missing ones at the end."""
        self.move(self._ring.written)
        missing = self._ring.written + self._ring.dropped - self._file.rows
        try:
            self._file.end(missing)
        except OSError as error:
            log.warning("trace: %s; %d rows are missing, and the file cannot record it", error.strerror, missing)


def run(life: socket.socket, ring: Ring, file: TraceFile, flight: FlightRecorder) -> None:
    """Move rows until the robot closes its end, or dies."""
    mover = RowMover(ring, file)
    poll = select.poll()
    poll.register(life, select.POLLIN)
    alive = True
    while alive:
        # While the other side runs, only rows from before the wait are read: the wait is far longer than any
        # processor delays a row behind the counter that announces it.
        seen = ring.written
        alive = not poll.poll(_LOOK_MS)
        seen = seen if alive else ring.written
        fault = flight.fault(np.frombuffer(mover.move(seen), file.row_type))
        if fault is not None:
            _dump(flight, seen, fault)
    if ring.ending != ENDED:
        why = "an error" if ring.ending == FAILED else "the death of the robot's process"
        _dump(flight, ring.written, why)
    mover.end()


def _dump(flight: FlightRecorder, last: int, why: str) -> None:
    try:
        path = flight.dump(last)
    except OdeployError as error:
        log.warning("flight recorder: %s", error)
        return
    if path is not None:
        log.warning("flight recorder: the last seconds before %s are in %s", why, path)


def main(ring_descriptor: int, file_descriptor: int, life_descriptor: int, beside: Path) -> None:
    """Run the process: report that it is ready, and move rows."""
    configure(inherited())
    file = TraceFile(file_descriptor)
    ring = Ring(file.row_type.itemsize, ring_rows(file.header.rate_hz), ring_descriptor)
    with socket.socket(fileno=life_descriptor) as life:
        with contextlib.suppress(BrokenPipeError):  # the robot is gone already; its end follows
            life.send(READY)
        run(life, ring, file, FlightRecorder(ring, file, beside))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
