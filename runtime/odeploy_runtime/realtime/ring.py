"""Ring buffer of rows in shared memory: one process writes, another reads.

Neither waits.

The writer fills a row's place and then raises a counter: no system call, no file, no lock. If the reader stops,
the ring fills up, and further rows are dropped and counted. A row stays until it is overwritten, so another
process can read the last seconds of a dead loop: the flight recorder uses this same memory and costs the loop
nothing.

Each counter has one writer and is one aligned integer, which a reader in another process sees whole.
"""

import mmap
import os

_WRITTEN, _TAKEN, _DROPPED, _ENDING = range(4)
_HEAD_BYTES = 64  # a cache line
RUNNING, ENDED, FAILED = 0, 1, 2
"""End of the writing side; a killed process leaves RUNNING."""


class Ring:
    """Ring of rows of one size, numbered from 0 in order of arrival.

    Attributes:
        capacity: number of rows that it holds.
        row_bytes: size of a row [bytes].
        memory: memory of the rows.
    """

    def __init__(self, row_bytes: int, capacity: int, descriptor: int | None = None) -> None:
        """Map the memory.

        Args:
            row_bytes: size of a row [bytes], the same in both processes.
            capacity: number of rows, the same in both processes.
            descriptor: memory from `shareable`; None for a ring of this process only.
        """
        self.row_bytes, self.capacity = row_bytes, capacity
        size = _HEAD_BYTES + row_bytes * capacity
        # Populated: otherwise the loop would stop at the first access to each page.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        whole = memoryview(mmap.mmap(-1 if descriptor is None else descriptor, size, flags=flags))
        self._numbers = whole[:_HEAD_BYTES].cast("q")
        self.memory = whole[_HEAD_BYTES:]
        self._put = self.written

    # ---- the writing side

    def place(self) -> int:
        """Return the first byte in `memory` of the next row; -1 if the ring is full."""
        if self._put - self._numbers[_TAKEN] >= self.capacity:
            return -1
        return self._put % self.capacity * self.row_bytes

    def put(self) -> None:
        """Publish the row at `place` to the reader."""
        self._put += 1
        self._numbers[_WRITTEN] = self._put

    def drop(self) -> None:
        """Count a row that found the ring full."""
        self._numbers[_DROPPED] += 1

    def end(self, how: int) -> None:
        """Publish that no more rows will come, and whether the run failed."""
        self._numbers[_ENDING] = how

    # ---- the reading side

    @property
    def written(self) -> int:
        """Number of rows written so far."""
        return self._numbers[_WRITTEN]

    @property
    def taken(self) -> int:
        """Number of rows read, whose places may be overwritten."""
        return self._numbers[_TAKEN]

    @property
    def dropped(self) -> int:
        """Number of rows that found the ring full."""
        return self._numbers[_DROPPED]

    @property
    def ending(self) -> int:
        """End of the writing side: RUNNING, ENDED or FAILED."""
        return self._numbers[_ENDING]

    def read(self, first: int, last: int) -> bytes:
        """Return the rows from `first` up to, but excluding, `last`.

        These are at most `capacity` rows.
        """
        begin, count = first % self.capacity, last - first
        before_the_seam = min(count, self.capacity - begin)
        return bytes(self._rows(begin, before_the_seam)) + bytes(self._rows(0, count - before_the_seam))

    def take(self, last: int) -> None:
        """Allow the rows before `last` to be overwritten."""
        self._numbers[_TAKEN] = last

    def newest(self, count: int, last: int) -> bytes:
        """Return at most `count` rows before `last`, taken or not.

        Those overwritten meanwhile are left out.
        """
        first = max(0, last - min(count, self.capacity))
        rows = self.read(first, last)
        # The place of row n is written while `written` is still n, so that place's previous row is lost.
        overwritten = max(0, self.written + 1 - self.capacity - first)
        return rows[overwritten * self.row_bytes :]

    def _rows(self, begin: int, count: int) -> memoryview:
        return self.memory[begin * self.row_bytes : (begin + count) * self.row_bytes]


def shareable(row_bytes: int, capacity: int) -> int:
    """Return memory for a ring, as a descriptor to pass to a child process."""
    descriptor = os.memfd_create("odeploy-ring")
    os.ftruncate(descriptor, _HEAD_BYTES + row_bytes * capacity)
    return descriptor
