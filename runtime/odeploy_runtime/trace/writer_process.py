"""The drain: a process that brings a trace's rows from the ring to the file, and outlives the loop.

The loop touches no file: a disk that is slow or full, or this process's death, costs rows and never a tick. A
robot that is killed leaves its rows in the ring, and this process still writes them. Rows are in the file within
half a second; against a loss of power nothing is done.
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

log = logging.getLogger("odeploy_runtime.trace.writer_process")  # also where this module is `__main__`

READY = b"\x01"
_LOOK_MS = 200


class Drain:
    """Moves rows from a ring to a file.

    Attributes:
        lost: rows that the disk did not take.
    """

    def __init__(self, ring: Ring, file: TraceFile) -> None:
        self._ring, self._file = ring, file
        self.lost = 0

    def move(self, last: int) -> bytes:
        """Appends and returns the rows up to, but without, `last`; what the disk does not take is counted."""
        taken, filed = self._ring.taken, self._file.rows
        rows = self._ring.read(taken, last)
        # One that was killed between writing and saying so left rows in the file that count as not taken.
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
        """Moves what is left, and says at the trace's end what is missing."""
        self.move(self._ring.written)
        missing = self._ring.written + self._ring.dropped - self._file.rows
        try:
            self._file.end(missing)
        except OSError as error:
            log.warning("trace: %s; %d rows are missing, and the file cannot say so", error.strerror, missing)


def run(life: socket.socket, ring: Ring, file: TraceFile, flight: FlightRecorder) -> None:
    """Drains until the robot closes its end, or dies."""
    drain = Drain(ring, file)
    poll = select.poll()
    poll.register(life, select.POLLIN)
    alive = True
    while alive:
        # Only rows from before the wait are taken while the other side runs: it is far longer than any
        # processor holds a row back behind the number that tells of it.
        seen = ring.written
        alive = not poll.poll(_LOOK_MS)
        seen = seen if alive else ring.written
        fault = flight.fault(np.frombuffer(drain.move(seen), file.row_type))
        if fault is not None:
            _keep(flight, seen, fault)
    if ring.ending != ENDED:
        why = "an error" if ring.ending == FAILED else "the death of the robot's process"
        _keep(flight, ring.written, why)
    drain.end()


def _keep(flight: FlightRecorder, last: int, why: str) -> None:
    try:
        path = flight.dump(last)
    except OdeployError as error:
        log.warning("flight recorder: %s", error)
        return
    if path is not None:
        log.warning("flight recorder: the last seconds before %s are in %s", why, path)


def main(ring_descriptor: int, file_descriptor: int, life_descriptor: int, beside: Path) -> None:
    """The process: says that it is ready, and drains."""
    configure(inherited())
    file = TraceFile(file_descriptor)
    ring = Ring(file.row_type.itemsize, ring_rows(file.header.rate_hz), ring_descriptor)
    with socket.socket(fileno=life_descriptor) as life:
        with contextlib.suppress(BrokenPipeError):  # who wanted a trace is gone already: its end is next
            life.send(READY)
        run(life, ring, file, FlightRecorder(ring, file, beside))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
