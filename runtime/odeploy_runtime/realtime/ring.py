"""A ring of rows in shared memory: one side puts them in, the other takes them out, and neither waits.

The side that puts writes a row into its place and then raises a number: no system call, no file, no lock. Where
nobody takes rows out any more, the ring fills up, and what comes then is dropped and counted. A row that was
taken stays until it is overwritten, so whoever outlives the loop can read its last seconds: the flight recorder
is this same memory and costs the loop nothing.

Each number has one writer and is one aligned integer, which a reader in another process sees whole.
"""

import mmap
import os

_WRITTEN, _TAKEN, _DROPPED, _ENDING = range(4)
_HEAD_BYTES = 64  # a cache line
RUNNING, ENDED, FAILED = 0, 1, 2
"""What the side that puts says of its end; a process that is killed says nothing, and leaves RUNNING."""


class Ring:
    """Rows of one size, numbered from 0 in the order in which they came.

    Attributes:
        capacity: rows that it holds.
        row_bytes: of one row.
        memory: where rows lie.
    """

    def __init__(self, row_bytes: int, capacity: int, descriptor: int | None = None) -> None:
        """Opens it.

        Args:
            row_bytes: the same in both processes.
            capacity: likewise.
            descriptor: of the memory that `shareable` made; without one it is this process's own.
        """
        self.row_bytes, self.capacity = row_bytes, capacity
        size = _HEAD_BYTES + row_bytes * capacity
        # Populated: else the loop would stop at each page that it meets for the first time.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        whole = memoryview(mmap.mmap(-1 if descriptor is None else descriptor, size, flags=flags))
        self._numbers = whole[:_HEAD_BYTES].cast("q")
        self.memory = whole[_HEAD_BYTES:]
        self._put = self.written

    # ---- the side that puts

    def place(self) -> int:
        """First byte in `memory` of the next row; -1 where the ring is full."""
        if self._put - self._numbers[_TAKEN] >= self.capacity:
            return -1
        return self._put % self.capacity * self.row_bytes

    def put(self) -> None:
        """Makes the row at `place` known to the other side."""
        self._put += 1
        self._numbers[_WRITTEN] = self._put

    def drop(self) -> None:
        """Counts a row that found no place."""
        self._numbers[_DROPPED] += 1

    def end(self, how: int) -> None:
        """Says that no row will come any more, and whether that is as it should be."""
        self._numbers[_ENDING] = how

    # ---- the side that takes

    @property
    def written(self) -> int:
        """Rows put in so far."""
        return self._numbers[_WRITTEN]

    @property
    def taken(self) -> int:
        """Rows whose places may be overwritten."""
        return self._numbers[_TAKEN]

    @property
    def dropped(self) -> int:
        """Rows that found no place."""
        return self._numbers[_DROPPED]

    @property
    def ending(self) -> int:
        """What the other side said of its end."""
        return self._numbers[_ENDING]

    def read(self, first: int, last: int) -> bytes:
        """The rows from `first` up to, but without, `last`; at most `capacity` of them."""
        begin, count = first % self.capacity, last - first
        before_the_seam = min(count, self.capacity - begin)
        return bytes(self._rows(begin, before_the_seam)) + bytes(self._rows(0, count - before_the_seam))

    def take(self, last: int) -> None:
        """Lets the rows before `last` be overwritten."""
        self._numbers[_TAKEN] = last

    def newest(self, count: int, last: int) -> bytes:
        """At most the `count` rows before `last`, taken or not, without those that were overwritten meanwhile."""
        first = max(0, last - min(count, self.capacity))
        rows = self.read(first, last)
        # The place of row n is written to while `written` is still n: that row's predecessor there is no more.
        overwritten = max(0, self.written + 1 - self.capacity - first)
        return rows[overwritten * self.row_bytes :]

    def _rows(self, begin: int, count: int) -> memoryview:
        return self.memory[begin * self.row_bytes : (begin + count) * self.row_bytes]


def shareable(row_bytes: int, capacity: int) -> int:
    """Memory for a ring, as a descriptor that a child process can be given."""
    descriptor = os.memfd_create("odeploy-ring")
    os.ftruncate(descriptor, _HEAD_BYTES + row_bytes * capacity)
    return descriptor
