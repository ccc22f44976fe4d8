"""Traces as Parquet: for pandas, polars and DuckDB, and for small archives.

Each stamp and each signal is a column (`observation.NAME`, `action.NAME`, `offered.NAME`). The header is stored in
the file's metadata, so `read_trace` restores the whole trace. The file is written after a run, since a truncated
Parquet file cannot be read at all. pyarrow is an extra.
"""

import importlib.util
import io
from pathlib import Path

import numpy as np

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import MissingError
from odeploy_runtime.regular_file import DATA_BYTES, require_regular
from odeploy_runtime.trace.format import Trace, TraceHeader, not_a_trace, row_type
from odeploy_runtime.typed_json import from_json, to_json

_HEADER, _LOST = b"odeploy.header", b"odeploy.lost"


def require_pyarrow() -> None:
    """Check early that a Parquet file can be written at the end.

    Raises:
        MissingError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingError(
            where="Parquet",
            expected="the package pyarrow",
            got="none installed",
            remedy="run: pip install 'odeploy[report]'",
        )


def write_parquet(trace: Trace, beside: Path) -> Path:
    """Write a trace beside its binary file, atomically; return the path.

    Raises:
        UsageError: the path cannot be written, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = trace.columns()
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    metadata = {_HEADER: to_json(trace.header).encode(), _LOST: str(trace.lost).encode()}
    # Stamps change little from row to row; so do the exponents of floats, stored apart from their other bytes.
    encoding = {
        name: "DELTA_BINARY_PACKED" if values.dtype.kind in "iu" else "BYTE_STREAM_SPLIT"
        for name, values in columns.items()
        if values.dtype.itemsize >= 4
    }
    small = [name for name in columns if name not in encoding]
    whole, path = io.BytesIO(), beside.with_suffix(".parquet")
    pq.write_table(
        table.replace_schema_metadata(metadata),
        whole,
        compression="zstd",
        use_dictionary=small,
        column_encoding=encoding,
    )
    write_whole(path, whole.getvalue())
    return path


def read_parquet(path: Path) -> Trace:
    """Read a file that `write_parquet` wrote; callers use `read_trace`.

    Raises:
        FormatError: not a trace.
        MissingError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular(path, DATA_BYTES)
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        header = from_json(TraceHeader, metadata[_HEADER], str(path))
        rows = np.zeros(len(table), row_type(len(header.observation), len(header.action)))
        for name, values in Trace(header, rows).columns().items():
            values[:] = table[name].to_numpy()
        return Trace(header, rows, int(metadata[_LOST]))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise not_a_trace(path, str(error).splitlines()[0] or type(error).__name__) from None
