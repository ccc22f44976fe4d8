"""The trace format: sizes and offsets of a row's fields."""

import struct
from pathlib import Path

from odeploy_runtime.trace.format import APPLIED, HELD, SKIPPED, STAMPS, row_type
from tests.unit.runtime import traces
from tests.unit.runtime.traces import numbered

ROW_BYTES = 4 + 4 + 1 + 1 + 1 + 1 + 2 + 2 + 4 + 8 + 11 * 8 + 3 * 4 + 2 * 4 + 2 * 4


def test_a_row_has_the_size_of_its_fields(tmp_path: Path) -> None:
    assert row_type(3, 2).itemsize == ROW_BYTES
    traces.write(tmp_path / "0", *numbered(0))
    traces.write(tmp_path / "7", *numbered(7))
    assert (tmp_path / "7").stat().st_size - (tmp_path / "0").stat().st_size == 7 * ROW_BYTES


def test_kinds_and_stamps_have_the_order_of_the_format() -> None:
    assert (APPLIED, HELD, SKIPPED) == (0, 1, 2)
    assert " ".join(STAMPS) == ("due woke observed sent received started inferred replied arrived applied stepped")


def test_a_rows_bytes_follow_the_format(tmp_path: Path) -> None:
    """Compare with an independent packing, field by field."""
    stamps = tuple(range(100, 111))
    values = struct.pack("<5f", 1, 2, 3, -1, 0.5)
    traces.write(
        tmp_path / "t",
        {
            "episode": 7,
            "tick": 8,
            "kind": HELD,
            "stamps": stamps,
            "state": 2,
            "clamped": True,
            "success": True,
            "epoch": 9,
            "reward": 0.25,
            "age_ns": -3,
            "values": values,
            "offered": struct.pack("<2f", 5, 6),
        },
    )
    row = struct.pack("<II4BHHfq11q", 7, 8, 1, 2, 1, 1, 9, 0, 0.25, -3, *stamps) + values
    row += struct.pack("<2f", 5, 6)
    assert (tmp_path / "t").read_bytes().endswith(row)
