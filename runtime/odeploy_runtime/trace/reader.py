"""Reading traces back: the binary format, and Parquet by its suffix."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.regular_file import DATA_BYTES, open_regular
from odeploy_runtime.trace.format import (
    APPLIED,
    HEADER_VERSION,
    LOST,
    MAGIC,
    SKIPPED,
    Trace,
    TraceHeader,
    not_a_trace,
    row_type,
)
from odeploy_runtime.trace.parquet import read_parquet
from odeploy_runtime.typed_json import from_json

_WITHOUT_OFFERED = 2  # the previous version: its rows lack the action as it was offered
_HEAD_BYTES = len(MAGIC) + 4


def read_trace(path: str | Path) -> Trace:
    """Read a trace, binary or Parquet; drop a torn last row, which a kill leaves.

    Raises:
        FormatError: not a trace, or of an unsupported version.
        MissingError: a Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    return read_parquet(path) if path.suffix == ".parquet" else _read_binary(path)


def _read_binary(path: Path) -> Trace:
    try:
        with open_regular(path, DATA_BYTES) as file:
            data = file.read(_HEAD_BYTES)
            if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD_BYTES:
                raise not_a_trace(path, "a file that does not begin with its magic number")
            data += file.read()
    except OSError as error:
        raise not_a_trace(path, error.strerror or type(error).__name__) from None
    (length,) = struct.unpack_from("<I", data, len(MAGIC))
    begin = _HEAD_BYTES + length
    if len(data) < begin:
        raise not_a_trace(path, "a file cut within its header")
    header = from_json(TraceHeader, data[_HEAD_BYTES:begin], str(path))
    if header.version not in (_WITHOUT_OFFERED, HEADER_VERSION):
        raise not_a_trace(path, f"version {header.version} of the format")
    kind = row_type(len(header.observation), len(header.action))
    if header.version == _WITHOUT_OFFERED:
        kind = np.dtype([(name, kind[name]) for name in kind.names or () if name != "offered"])
    rows = np.frombuffer(data, kind, (len(data) - begin) // kind.itemsize, begin)
    if header.version == _WITHOUT_OFFERED:
        rows = _with_offered(header, rows)
    if len(rows) and rows[-1]["kind"] == LOST:
        return Trace(header, rows[:-1], int(rows[-1]["tick"]))
    return Trace(header, rows)


def _with_offered(header: TraceHeader, old: NDArray[np.void]) -> NDArray[np.void]:
    """Convert rows of the previous version.

    An action applied unchanged was offered; the others are unknown.
    """
    rows = np.zeros(len(old), row_type(len(header.observation), len(header.action)))
    for name in old.dtype.names or ():
        rows[name] = old[name]
    unchanged = (old["kind"] == APPLIED) & (old["clamped"] == 0)
    rows["offered"] = np.where(unchanged[:, None], old["action"], np.float32(np.nan))
    rows["offered"][old["kind"] == SKIPPED] = 0
    return rows
