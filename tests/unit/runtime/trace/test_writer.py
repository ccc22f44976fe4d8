"""Writing a trace: rows are on disk after a flush, and a full disk costs the torn row alone."""

import resource
from pathlib import Path

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.trace.format import row_type
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceFile, TraceWriter
from tests.unit.runtime import traces
from tests.unit.runtime.traces import numbered

ROW_BYTES = row_type(3, 2).itemsize


def test_rows_are_on_disk_after_a_flush_and_before_the_end(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t", traces.header(), 10)
    for tick in numbered(4):
        writer.append(**tick)
    assert len(read_trace(tmp_path / "t").rows) == 0
    writer.flush()
    assert list(read_trace(tmp_path / "t").rows["tick"]) == [0, 1, 2, 3]
    writer.flush()
    assert (len(read_trace(tmp_path / "t").rows), writer.rows) == (4, 4)
    writer.close()


def test_a_full_buffer_is_written_and_goes_on(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t", traces.header(), 3)
    for tick in numbered(4):
        writer.append(**tick)
    assert len(read_trace(tmp_path / "t").rows) == 3
    writer.close()
    assert list(read_trace(tmp_path / "t").rows["tick"]) == [0, 1, 2, 3]


def test_a_disk_that_fills_up_is_an_error_and_what_fitted_can_be_read(tmp_path: Path) -> None:
    """The kernel takes a part of the write without complaint; a limit on file sizes does the same."""
    path = tmp_path / "t"
    writer = TraceWriter(path, traces.header(), 20)
    for tick in numbered(10):
        writer.append(**tick)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4 * ROW_BYTES + 7, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(read_trace(path).rows["tick"]) == [0, 1, 2, 3]


def test_a_writer_makes_the_folders_above_its_file(tmp_path: Path) -> None:
    traces.write(tmp_path / "a" / "b" / "t", *numbered(1))
    assert len(read_trace(tmp_path / "a" / "b" / "t").rows) == 1


def test_a_trace_says_at_its_end_how_many_rows_never_reached_it(tmp_path: Path) -> None:
    traces.write(tmp_path / "t", *numbered(3))
    with (tmp_path / "t").open("r+b") as file:
        TraceFile(file.fileno()).end(0)
        assert read_trace(tmp_path / "t").lost == 0
        file.seek(0, 2)
        TraceFile(file.fileno()).end(70_000)
    trace = read_trace(tmp_path / "t")
    assert (trace.rows["tick"].tolist(), trace.lost) == ([0, 1, 2], 70_000)


def test_a_file_that_is_taken_over_loses_its_torn_row_before_it_goes_on(tmp_path: Path) -> None:
    traces.write(tmp_path / "t", *numbered(3))
    with (tmp_path / "t").open("a+b") as file:
        last = (tmp_path / "t").read_bytes()[-ROW_BYTES:]
        file.write(last[:50])
        file.flush()
        taken_over = TraceFile(file.fileno())
        assert taken_over.rows == 3
        taken_over.append(last)
    assert read_trace(tmp_path / "t").rows["tick"].tolist() == [0, 1, 2, 2]


def test_a_place_where_no_file_can_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"--trace {tmp_path}/file/t"):
        TraceFile.create(tmp_path / "file" / "t", traces.header())
