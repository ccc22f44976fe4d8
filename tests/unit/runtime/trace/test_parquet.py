"""Parquet: a trace is read back unchanged by us and by other readers."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.trace.format import STAMPS, Trace, row_type
from odeploy_runtime.trace.parquet import require_pyarrow, write_parquet
from odeploy_runtime.trace.reader import read_trace
from tests.unit.runtime import traces

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'odeploy[report]'")

RANDOM = np.random.default_rng(0)


def random_trace(count: int) -> Trace:
    """Return a trace of random bytes; floats are random numbers or NaN."""
    kind = row_type(3, 2)
    rows = np.frombuffer(RANDOM.bytes(count * kind.itemsize), kind).copy()
    for name in ("observation", "action", "offered"):
        rows[name] = RANDOM.normal(size=rows[name].shape)
    rows["offered"][::3] = np.nan
    rows["reward"] = RANDOM.normal(size=count)
    return Trace(traces.header(), rows, lost=3)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_every_row_is_read_back_bit_for_bit_by_read_trace(tmp_path: Path, count: int) -> None:
    trace = random_trace(count)
    path = write_parquet(trace, tmp_path / "run.trace")
    read = read_trace(path)
    assert path == tmp_path / "run.parquet"
    assert (read.header, read.lost) == (trace.header, 3)
    assert read.rows.tobytes() == trace.rows.tobytes()


def test_another_reader_finds_columns_by_name(tmp_path: Path) -> None:
    trace = random_trace(4)
    table = pq.read_table(write_parquet(trace, tmp_path / "t.trace"))
    assert set(table.column_names) >= {f"{stamp}_ns" for stamp in STAMPS} | {"episode", "age_ns", "reward"}
    np.testing.assert_array_equal(table["observation.speed"], trace.rows["observation"][:, 2])
    np.testing.assert_array_equal(table["offered.motor_y"], trace.rows["offered"][:, 1])
    np.testing.assert_array_equal(table["due_ns"], trace.rows["stamps"][:, 0])


def test_stamps_are_stored_as_differences(tmp_path: Path) -> None:
    file = pq.ParquetFile(write_parquet(random_trace(10), tmp_path / "t.trace"))
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for stamp in STAMPS:
        assert "DELTA_BINARY_PACKED" in columns[f"{stamp}_ns"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_an_invalid_parquet_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(FormatError) as raised:
        read_trace(tmp_path / "t.parquet")
    assert raised.value.where == str(tmp_path / "t.parquet")


def test_a_parquet_file_without_a_trace_is_refused_by_name(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(FormatError, match=r"t\.parquet"):
        read_trace(tmp_path / "t.parquet")


def test_a_missing_pyarrow_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"odeploy\[report\]"):
        require_pyarrow()
