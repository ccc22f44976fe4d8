"""The ring buffer: rows come out unchanged and in order through every wrap; dropped ones are counted."""

import os
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from odeploy_runtime.realtime.ring import ENDED, RUNNING, Ring, shareable

ROW = 12


def row(number: int) -> bytes:
    return number.to_bytes(ROW, "little")


def numbers(rows: bytes) -> list[int]:
    return [int.from_bytes(rows[i : i + ROW], "little") for i in range(0, len(rows), ROW)]


def offer(ring: Ring, number: int) -> bool:
    place = ring.place()
    if place < 0:
        ring.drop()
        return False
    ring.memory[place : place + ROW] = row(number)
    ring.put()
    return True


class TwoSides(RuleBasedStateMachine):
    """Two rings over one memory, as in two processes, compared with a queue of at most five numbers."""

    def __init__(self) -> None:
        super().__init__()
        descriptor = shareable(ROW, 5)
        self.loop, self.reader = Ring(ROW, 5, descriptor), Ring(ROW, 5, descriptor)
        os.close(descriptor)
        self.waiting: deque[int] = deque()
        self.accepted: list[int] = []
        self.offered = self.dropped = 0

    @rule()
    def put(self) -> None:
        room = len(self.waiting) < 5
        assert offer(self.loop, self.offered) == room
        if room:
            self.waiting.append(self.offered)
            self.accepted.append(self.offered)
        self.dropped += not room
        self.offered += 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.waiting)))
        first = self.reader.taken
        assert numbers(self.reader.read(first, first + count)) == [self.waiting.popleft() for _ in range(count)]
        self.reader.take(first + count)

    @rule(count=st.integers(1, 9))
    def look_back(self, count: int) -> None:
        """All rows except the one that may be overwritten now are still there."""
        last = self.reader.written
        assert numbers(self.reader.newest(count, last)) == self.accepted[-min(count, 4) :]

    @invariant()
    def both_sides_count_alike(self) -> None:
        for side in (self.loop, self.reader):
            assert (side.written, side.dropped) == (len(self.accepted), self.dropped)
            assert side.written - side.taken == len(self.waiting)


TwoSides.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_rows_come_out_as_they_went_in_for_any_sequence_of_both_sides = TwoSides.TestCase


@given(st.integers(1, 6), st.integers(0, 40))
def test_a_ring_without_a_reader_fills_up_and_dropped_rows_are_counted(capacity: int, count: int) -> None:
    ring = Ring(ROW, capacity)
    kept = [number for number in range(count) if offer(ring, number)]
    assert kept == list(range(min(capacity, count)))
    assert (ring.written, ring.dropped) == (len(kept), count - len(kept))
    assert numbers(ring.read(0, ring.written)) == kept


def test_a_row_that_may_be_overwritten_is_not_read_back() -> None:
    ring = Ring(ROW, 4)
    for number in range(4):
        offer(ring, number)
    ring.take(4)
    place = ring.place()  # of row 4, the same as row 0's
    ring.memory[place : place + ROW] = b"\xff" * ROW
    assert numbers(ring.newest(4, 4)) == [1, 2, 3]


def test_overwritten_rows_are_not_read_back() -> None:
    ring = Ring(ROW, 4)
    for number in range(10):
        offer(ring, number)
        ring.take(number + 1)
    assert numbers(ring.newest(4, 6)) == []
    assert numbers(ring.newest(2, 8)) == [7]


@pytest.mark.parametrize("ending", [ENDED, 2])
def test_an_end_is_visible_on_the_other_side(ending: int) -> None:
    descriptor = shareable(ROW, 2)
    loop, reader = Ring(ROW, 2, descriptor), Ring(ROW, 2, descriptor)
    os.close(descriptor)
    assert reader.ending == RUNNING
    loop.end(ending)
    assert reader.ending == ending


def test_a_ring_opened_later_continues_at_the_firsts_position() -> None:
    descriptor = shareable(ROW, 3)
    first = Ring(ROW, 3, descriptor)
    offer(first, 0)
    second = Ring(ROW, 3, descriptor)
    os.close(descriptor)
    assert second.place() == ROW
