"""The writer process: every row reaches the file once, or is counted as lost."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.ring import ENDED, FAILED, Ring
from odeploy_runtime.safety.states import State
from odeploy_runtime.trace.background_writer import BackgroundWriter
from odeploy_runtime.trace.flight_recorder import FlightRecorder
from odeploy_runtime.trace.format import APPLIED, HELD, row_type
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import RowWriter, TraceFile
from odeploy_runtime.trace.writer_process import RowMover, run
from tests.unit.runtime import traces

ROW = row_type(3, 2).itemsize
CAPACITY = 8


class Half:
    """Both ends in one process: a loop that appends, and a row mover that moves on call."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "t.trace"
        self.file = TraceFile.create(self.path, traces.header(rate_hz=10.0))
        self.ring = Ring(ROW, CAPACITY)
        self.loop = RowWriter(self.ring, self.file.header)
        self.mover = RowMover(self.ring, self.file)

    def append(self, count: int, state: State = State.RUN) -> None:
        for _ in range(count):
            kind = APPLIED if state is State.RUN else HELD
            self.loop.append(0, self.loop.rows, kind, (1,) * 11, state=state, values=bytes(20))

    def run(self, folder: Path) -> None:
        """Run the writer process's loop until the end, which has already come."""
        life, theirs = socket.socketpair()
        life.close()
        with theirs:
            flight = FlightRecorder(self.ring, self.file, folder / "t.trace")
            run(theirs, self.ring, self.file, flight)

    def ticks(self) -> list[int]:
        return [int(tick) for tick in read_trace(self.path).rows["tick"]]


@pytest.fixture
def half(tmp_path: Path) -> Iterator[Half]:
    made = Half(tmp_path)
    yield made
    made.file.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Set a file-size limit, which acts like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_rows_are_moved_to_the_file_in_parts_and_make_room(half: Half) -> None:
    half.append(6)
    half.mover.move(4)
    assert half.ticks() == [0, 1, 2, 3]
    half.append(5)
    half.mover.move(half.ring.written)
    half.mover.end()
    assert (half.ticks(), half.ring.dropped, read_trace(half.path).lost) == (list(range(11)), 0, 0)


def test_rows_that_found_the_ring_full_are_counted_at_the_traces_end(half: Half) -> None:
    half.append(CAPACITY + 5)
    half.mover.move(half.ring.written)
    half.append(1)
    half.mover.end()
    assert half.ticks() == [*range(CAPACITY), CAPACITY + 5]
    assert read_trace(half.path).lost == 5


def test_a_full_disk_is_reported_once_and_lost_rows_are_counted(half: Half, logged: list[str]) -> None:
    with files_of_at_most(half.path.stat().st_size + 3 * ROW + 10):
        for _ in range(3):
            half.append(CAPACITY)
            half.mover.move(half.ring.written)
        assert half.ring.place() >= 0  # the loop is not affected
    assert logged == ["trace: File too large; the run goes on, rows from 3 on are lost"]
    assert half.mover.lost == 3 * CAPACITY - 3
    assert half.ticks() == [0, 1, 2]
    half.append(2)
    half.mover.end()  # there is room again
    assert half.ticks() == [0, 1, 2, 24, 25]
    assert read_trace(half.path).lost == 3 * CAPACITY - 3


def test_a_disk_that_stays_full_leaves_complete_rows_and_no_exception(half: Half, logged: list[str]) -> None:
    with files_of_at_most(half.path.stat().st_size + 2 * ROW):
        half.append(5)
        half.mover.end()
    assert logged[1:] == ["trace: File too large; 3 rows are missing, and the file cannot record it"]
    assert half.ticks() == [0, 1]


def test_a_second_writer_writes_no_row_twice_after_a_kill(half: Half, logged: list[str]) -> None:
    half.append(6)
    half.file.append(half.ring.read(0, 4))  # then killed, before it removed them from the ring
    successor = RowMover(half.ring, TraceFile(half.file.descriptor))
    successor.end()
    assert half.ticks() == list(range(6))
    assert logged == []


@pytest.mark.parametrize("ending", [ENDED, FAILED, None])
def test_an_abnormal_end_makes_a_dump(half: Half, tmp_path: Path, ending: int | None, logged: list[str]) -> None:
    half.append(5)
    if ending is not None:
        half.ring.end(ending)
    half.run(tmp_path)
    assert half.ticks() == list(range(5))
    dump = tmp_path / "t.trace.fault-1"
    assert dump.exists() == (ending != ENDED)
    why = {ENDED: [], FAILED: ["an error"], None: ["the death of the robot's process"]}[ending]
    assert logged == [f"flight recorder: the last seconds before {w} are in {dump}" for w in why]
    if ending != ENDED:
        assert read_trace(dump).rows["tick"].tolist() == list(range(5))


def test_a_fault_of_the_guard_makes_a_dump(half: Half, tmp_path: Path, logged: list[str]) -> None:
    half.append(3)
    half.append(2, State.SAFE)
    half.ring.end(ENDED)
    half.run(tmp_path)
    (line,) = logged
    assert "the last seconds before SAFE in episode 0, tick 3" in line
    assert read_trace(tmp_path / "t.trace.fault-1").rows["state"].tolist() == [0, 0, 0, 2, 2]


def test_a_failed_dump_is_reported_and_the_trace_is_complete(
    half: Half, tmp_path: Path, logged: list[str]
) -> None:
    half.append(3)
    (tmp_path / "file").touch()
    half.run(tmp_path / "file")
    assert "flight recorder: " in logged[0]
    assert half.ticks() == [0, 1, 2]


# ---- as a process


def test_a_process_writes_what_the_loop_appends_and_ends_with_it(tmp_path: Path, logged: list[str]) -> None:
    with BackgroundWriter(tmp_path / "t", traces.header(), tmp_path / "t") as trace:
        for tick in range(30):
            trace.append(0, tick, APPLIED, (tick,) * 11, values=bytes(20))
            trace.flush()
    assert trace.process.returncode == 0
    assert read_trace(tmp_path / "t").rows["tick"].tolist() == list(range(30))
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert logged == []


def test_a_killed_process_is_replaced_at_the_end_and_no_row_is_missing(tmp_path: Path, logged: list[str]) -> None:
    with BackgroundWriter(tmp_path / "t", traces.header(), tmp_path / "t") as trace:
        trace.process.kill()
        trace.process.wait()
        for tick in range(30):
            trace.append(0, tick, APPLIED, (tick,) * 11, values=bytes(20))
    assert logged == ["trace: the writer process: its death by SIGKILL; its rows are written now"]
    assert read_trace(tmp_path / "t").rows["tick"].tolist() == list(range(30))


@pytest.mark.parametrize(("error", "dumps"), [(ValueError, 1), (KeyboardInterrupt, 0)])
def test_an_error_makes_a_dump_and_an_interrupt_does_not(
    tmp_path: Path, error: type[BaseException], dumps: int
) -> None:
    def drive() -> None:
        with BackgroundWriter(tmp_path / "t", traces.header(), tmp_path / "flights" / "t") as trace:
            trace.append(0, 0, APPLIED, (1,) * 11, values=bytes(20))
            raise error

    with pytest.raises(error):
        drive()
    assert len(read_trace(tmp_path / "t").rows) == 1
    assert len(list(tmp_path.glob("flights/t.fault-*"))) == dumps


def test_an_invalid_path_is_refused_before_a_process_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UsageError, match="--trace"):
        BackgroundWriter(tmp_path / "file" / "t", traces.header(), tmp_path / "t")
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
