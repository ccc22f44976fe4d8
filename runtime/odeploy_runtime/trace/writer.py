"""Writing a trace: the loop packs rows into memory and touches no file.

Rows are appended to the file between episodes, or by the writer process
(`odeploy_runtime/trace/writer_process.py`).
"""

import os
import struct
from pathlib import Path

import numpy as np

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.ring import Ring
from odeploy_runtime.trace.format import FIXED, GOES_ON, LOST, MAGIC, TraceHeader, row_type
from odeploy_runtime.typed_json import from_json, to_json


class RowWriter:
    """Packer of rows into a ring, which another object empties.

    Attributes:
        rows: rows appended so far, including those that found the ring full.
    """

    def __init__(self, ring: Ring, header: TraceHeader) -> None:
        self._ring, self.rows = ring, 0
        self._never = bytes(ring.row_bytes - FIXED.size)
        self._nothing = np.full(len(header.action), np.nan, "<f4").tobytes()

    def append(
        self,
        episode: int,
        tick: int,
        kind: int,
        stamps: tuple[int, ...],
        state: int = 0,
        clamped: bool = False,
        success: bool = False,
        epoch: int = 0,
        end: int = GOES_ON,
        cause: int = 0,
        reward: float = 0.0,
        age_ns: int = 0,
        values: bytes = b"",
        offered: bytes = b"",
    ) -> None:
        """Pack one row, or count it as dropped if the ring is full.

        Many arguments instead of a record, since this runs in every tick. `stamps` has all eleven, 0 for missing
        ones. `values` is observation and command as float32 bytes, empty for a skipped tick; `offered` is the
        action before the guard, empty without one.
        """
        self.rows += 1
        place = self._ring.place()
        if place < 0:
            self.flush()
            place = self._ring.place()
            if place < 0:
                self._ring.drop()
                return
        memory = self._ring.memory
        FIXED.pack_into(
            memory, place,
            episode, tick, kind, state, clamped, success, epoch, end, cause, reward, age_ns, *stamps,
        )  # fmt: skip
        rest = values + (offered or self._nothing) if values else self._never
        memory[place + FIXED.size : place + self._ring.row_bytes] = rest
        self._ring.put()

    def flush(self) -> None:
        """Empty the ring, if this process does that; call it between episodes."""


class TraceFile:
    """File of a trace; only whole rows are appended, even on a full disk."""

    def __init__(self, descriptor: int) -> None:
        """Take over a file begun by `create`, by its descriptor; cut off a torn last row."""
        self.descriptor = descriptor
        (length,) = struct.unpack("<I", os.pread(descriptor, 4, len(MAGIC)))
        self.head = os.pread(descriptor, len(MAGIC) + 4 + length, 0)
        self.header = from_json(TraceHeader, self.head[len(MAGIC) + 4 :], "trace")
        self.row_type = row_type(len(self.header.observation), len(self.header.action))
        self._cut()

    @classmethod
    def create(cls, path: Path, header: TraceHeader) -> "TraceFile":
        """Begin a trace; replace an existing one.

        Raises:
            UsageError: the path cannot be written.
        """
        text = to_json(header).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
            os.write(descriptor, MAGIC + struct.pack("<I", len(text)) + text)
        except OSError as error:
            raise UsageError(
                where=f"--trace {path}",
                expected="a path that can be written",
                got=error.strerror or type(error).__name__,
                remedy="free some space or choose another path",
            ) from None
        return cls(descriptor)

    @property
    def rows(self) -> int:
        """Number of whole rows in the file."""
        return (os.fstat(self.descriptor).st_size - len(self.head)) // self.row_type.itemsize

    def append(self, rows: bytes) -> None:
        """Append rows.

        Raises:
            OSError: the disk is full; the whole rows that fitted are in the file.
        """
        left = memoryview(rows)
        try:
            while left:  # on a full disk the first write is short, and only the next one fails
                left = left[os.write(self.descriptor, left) :]
        except OSError:
            self._cut()
            raise

    def end(self, lost: int) -> None:
        """Record at the trace's end how many rows never reached it, if any.

        Raises:
            OSError: the disk is full.
        """
        if lost:
            mark = np.zeros(1, self.row_type)
            mark["kind"], mark["tick"] = LOST, lost
            self.append(mark.tobytes())

    def close(self) -> None:
        """Close; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _cut(self) -> None:
        os.ftruncate(self.descriptor, len(self.head) + self.rows * self.row_type.itemsize)


class TraceWriter(RowWriter):
    """Trace writer in the loop's own process, for loops without deadlines.

    It writes between episodes, or when an episode exceeds `capacity` ticks.
    """

    def __init__(self, path: Path, header: TraceHeader, capacity: int) -> None:
        self._file = TraceFile.create(path, header)
        super().__init__(Ring(self._file.row_type.itemsize, capacity), header)

    def flush(self) -> None:
        """Write the buffered rows; call it between episodes."""
        last = self._ring.written
        self._file.append(self._ring.read(self._ring.taken, last))
        self._ring.take(last)

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            self._file.close()
