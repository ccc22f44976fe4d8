"""Writing a trace: rows are on disk after a flush, and a full disk loses no complete row."""

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


def test_a_full_buffer_is_written_and_more_rows_follow(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t", traces.header(), 3)
    for tick in numbered(4):
        writer.append(**tick)
    assert len(read_trace(tmp_path / "t").rows) == 3
    writer.close()
    assert list(read_trace(tmp_path / "t").rows["tick"]) == [0, 1, 2, 3]


def test_a_full_disk_is_an_error_and_the_complete_rows_can_be_read(tmp_path: Path) -> None:
    """On a full disk the kernel writes a part without an error; a file-size limit does the same."""
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


def test_the_end_of_a_trace_holds_the_number_of_lost_rows(tmp_path: Path) -> None:
    traces.write(tmp_path / "t", *numbered(3))
    with (tmp_path / "t").open("r+b") as file:
        TraceFile(file.fileno()).end(0)
        assert read_trace(tmp_path / "t").lost == 0
        file.seek(0, 2)
        TraceFile(file.fileno()).end(70_000)
    trace = read_trace(tmp_path / "t")
    assert (trace.rows["tick"].tolist(), trace.lost) == ([0, 1, 2], 70_000)


def test_a_reopened_file_loses_its_torn_row_before_new_rows(tmp_path: Path) -> None:
    traces.write(tmp_path / "t", *numbered(3))
    with (tmp_path / "t").open("a+b") as file:
        last = (tmp_path / "t").read_bytes()[-ROW_BYTES:]
        file.write(last[:50])
        file.flush()
        reopened = TraceFile(file.fileno())
        assert reopened.rows == 3
        reopened.append(last)
    assert read_trace(tmp_path / "t").rows["tick"].tolist() == [0, 1, 2, 2]


def test_an_invalid_path_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"--trace {tmp_path}/file/t"):
        TraceFile.create(tmp_path / "file" / "t", traces.header())
