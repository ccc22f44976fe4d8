"""The flight recorder: each transition to SAFE or STOP is detected once; the rows before it are dumped."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.ring import Ring
from odeploy_runtime.safety.states import State
from odeploy_runtime.trace.flight_recorder import FlightRecorder, dump_rows, ring_rows
from odeploy_runtime.trace.format import APPLIED, HELD, SKIPPED, row_type
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import RowWriter, TraceFile
from tests.unit.runtime import traces

RATE_HZ = 10.0
KEPT = 100  # 10 s


class Recorded:
    """Recorder over a ring that a loop fills and no process empties."""

    def __init__(self, folder: Path, rate_hz: float = RATE_HZ) -> None:
        header = traces.header(rate_hz=rate_hz)
        self.file = TraceFile.create(folder / "run.trace", header)
        self.ring = Ring(row_type(3, 2).itemsize, ring_rows(rate_hz))
        self.loop = RowWriter(self.ring, header)
        self.flight = FlightRecorder(self.ring, self.file, folder / "run.trace")

    def tick(self, number: int) -> None:
        self.ring.take(self.ring.written)
        self.loop.append(0, number, APPLIED, (number,) * 11, values=bytes(20))


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


def states(*each: State | None) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return rows with these states; None is a skipped tick."""
    ticks = [
        {"episode": 2, "tick": i, "kind": SKIPPED if state is None else HELD, "state": state or 0}
        for i, state in enumerate(each)
    ]
    return traces.rows(*ticks)


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ([State.RUN, State.HOLD, State.RUN], None),
        ([State.RUN, State.SAFE, State.SAFE], "SAFE in episode 2, tick 1"),
        ([State.SAFE, None, State.SAFE, State.STOP], "SAFE in episode 2, tick 0"),
        ([State.HOLD, State.STOP], "STOP in episode 2, tick 1"),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_first_transition_to_safe_or_stop_is_named(
    recorded: Recorded, seen: list[State], fault: str | None
) -> None:
    assert recorded.flight.fault(states(*seen)) == fault


def test_a_fault_is_detected_once_across_several_batches_of_rows(recorded: Recorded) -> None:
    parts: list[list[State | None]] = [[State.SAFE], [State.SAFE, None], [None], [State.SAFE], [State.STOP]]
    parts += [[State.RUN], [State.SAFE]]
    found = [recorded.flight.fault(states(*part)) for part in parts]
    assert [f and f.split()[0] for f in found] == ["SAFE", None, None, None, "STOP", None, "SAFE"]


def test_the_last_ten_seconds_are_kept_as_a_trace(recorded: Recorded, tmp_path: Path) -> None:
    for number in range(330):
        recorded.tick(number)
    path = recorded.flight.dump(recorded.ring.written)
    assert path == tmp_path / "run.trace.fault-1"
    kept = read_trace(path)
    assert kept.header == traces.header(rate_hz=RATE_HZ)
    assert kept.rows["tick"].tolist() == list(range(330 - KEPT, 330))


def test_a_dump_of_ten_thousand_rows_needs_less_memory_than_a_tenth_of_its_size(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, rate_hz=1000.0)
    for number in range(11_000):
        recorded.tick(number)
    tracemalloc.start()
    try:
        path = recorded.flight.dump(recorded.ring.written)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path is not None
    assert read_trace(path).rows["tick"].tolist() == list(range(1_000, 11_000))
    assert peak < path.stat().st_size / 10


def test_a_shorter_run_is_dumped_completely_and_one_without_rows_not_at_all(recorded: Recorded) -> None:
    assert recorded.flight.dump(0) is None
    for number in range(3):
        recorded.tick(number)
    path = recorded.flight.dump(3)
    assert path is not None
    assert read_trace(path).rows["tick"].tolist() == [0, 1, 2]


def test_dumps_of_earlier_runs_are_kept_and_a_run_has_at_most_six(recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "run.trace.fault-2").write_text("of an earlier run")
    recorded.tick(0)
    made = [recorded.flight.dump(1) for _ in range(9)]
    names = [path.name for path in made if path is not None]
    assert names == [f"run.trace.fault-{n}" for n in (1, 3, 4, 5, 6, 7)]
    assert (tmp_path / "run.trace.fault-2").read_text() == "of an earlier run"


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    (tmp_path / "file").touch()
    flight = FlightRecorder(recorded.ring, recorded.file, tmp_path / "file" / "t")
    recorded.tick(0)
    with pytest.raises(UsageError, match="a path that can be written"):
        flight.dump(1)


@pytest.mark.parametrize(("rate_hz", "rows"), [(100.0, 1000), (0.5, 64), (33.3, 333), (6.0, 64)])
def test_ten_seconds_are_kept_and_the_ring_holds_twice_that(rate_hz: float, rows: int) -> None:
    assert dump_rows(rate_hz) == rows
    assert ring_rows(rate_hz) == 2 * rows
