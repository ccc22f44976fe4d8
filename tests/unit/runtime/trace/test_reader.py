"""Reading a trace: rows are read as written, and a kill loses at most the torn row."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import FormatError
from odeploy_runtime.trace.format import APPLIED, HELD, SKIPPED, STAMPS, row_type
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.typed_json import to_json
from tests.unit.runtime import traces
from tests.unit.runtime.traces import numbered

ROW_BYTES = row_type(3, 2).itemsize

ticks = st.fixed_dictionaries(
    {
        "episode": st.integers(0, 2**32 - 1),
        "tick": st.integers(0, 2**32 - 1),
        "kind": st.sampled_from([APPLIED, HELD, SKIPPED]),
        "stamps": st.tuples(*[st.integers(0, 2**63 - 1)] * len(STAMPS)),
        "state": st.integers(0, 3),
        "cause": st.integers(0, 8),
        "clamped": st.booleans(),
        "success": st.booleans(),
        "epoch": st.integers(0, 2**16 - 1),
        "reward": st.floats(width=32, allow_nan=False),
        "age_ns": st.integers(-(2**63), 2**63 - 1),
        "values": st.lists(st.floats(width=32, allow_nan=False), min_size=5, max_size=5).map(
            lambda values: np.array(values, "<f4").tobytes()
        ),
        "offered": st.binary(min_size=8, max_size=8),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@given(st.lists(ticks, max_size=12), st.integers(1, 5))
def test_every_row_is_read_as_written_for_any_buffer_size(
    folder: Path, written: list[dict[str, Any]], capacity: int
) -> None:
    path = folder / "t.trace"
    traces.write(path, *written, capacity=capacity)
    rows = read_trace(path).rows
    assert len(rows) == len(written)
    for row, tick in zip(rows, written, strict=True):
        for name in (
            "episode",
            "tick",
            "kind",
            "state",
            "cause",
            "clamped",
            "success",
            "epoch",
            "age_ns",
            "reward",
        ):
            assert row[name] == tick[name]
        assert tuple(row["stamps"]) == tick["stamps"]
        assert row["observation"].tobytes() + row["action"].tobytes() == tick["values"]
        assert row["offered"].tobytes() == tick["offered"]


def test_the_header_is_read_back_unchanged(tmp_path: Path) -> None:
    traces.write(tmp_path / "t")
    assert read_trace(tmp_path / "t").header == traces.header()


def test_a_skipped_tick_has_zeros_for_observation_and_action(tmp_path: Path) -> None:
    full = {"episode": 0, "tick": 0, "kind": APPLIED, "stamps": (1,) * 11, "values": b"\xff" * 20}
    skipped = {"episode": 0, "tick": 1, "kind": SKIPPED, "stamps": (5,) + (0,) * 10}
    traces.write(tmp_path / "t", full, skipped, full, skipped, capacity=2)
    for row in read_trace(tmp_path / "t").rows[1::2]:
        assert not row["observation"].any()
        assert not row["action"].any()
        assert not row["offered"].any()


def test_a_tick_without_an_offered_action_has_nan(tmp_path: Path) -> None:
    (tick,) = numbered(1)
    traces.write(tmp_path / "t", tick, tick | {"offered": np.array([1, 2], "<f4").tobytes()})
    np.testing.assert_array_equal(read_trace(tmp_path / "t").rows["offered"], [[np.nan, np.nan], [1, 2]])


def test_a_file_cut_at_any_byte_is_read_up_to_the_last_complete_row(tmp_path: Path) -> None:
    traces.write(tmp_path / "t", *numbered(3))
    data = (tmp_path / "t").read_bytes()
    begin = len(data) - 3 * ROW_BYTES
    for length in (*range(0, begin - 2, 17), *range(begin - 2, len(data) + 1)):
        (tmp_path / "cut").write_bytes(data[:length])
        if length < begin:
            with pytest.raises(FormatError):
                read_trace(tmp_path / "cut")
        else:
            rows = read_trace(tmp_path / "cut").rows
            assert list(rows["tick"]) == list(range((length - begin) // ROW_BYTES))


@pytest.mark.parametrize(
    "data", [b"", b"ODTRACE1", b"ODTRACE2" + bytes(50), b"PK" + bytes(50), b"ODTRACE1\xff\xff\xff\xff{}"]
)
def test_an_invalid_trace_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(FormatError) as raised:
        read_trace(tmp_path / "t")
    assert raised.value.where.startswith(str(tmp_path / "t"))


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_path_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="expected a trace written by"):
        read_trace(tmp_path / name)


def test_a_trace_of_version_2_is_read_and_unclamped_applied_actions_count_as_offered(tmp_path: Path) -> None:
    text = to_json(traces.header()).replace('"version": 3', '"version": 2').encode()
    head = b"ODTRACE1" + len(text).to_bytes(4, "little") + text
    values = struct.pack("<5f", 1, 2, 3, -1, 0.5)
    rows = [
        struct.pack("<II4BHHfq11q", 0, tick, kind, 0, clamped, 0, 0, 0, 0.25, 0, *range(11)) + values
        for tick, (kind, clamped) in enumerate([(APPLIED, 0), (APPLIED, 1), (HELD, 0)])
    ]
    (tmp_path / "t").write_bytes(head + b"".join(rows))
    read = read_trace(tmp_path / "t").rows
    assert read["tick"].tolist() == [0, 1, 2]
    assert read["stamps"].tolist() == [list(range(11))] * 3
    assert read["reward"].tolist() == [0.25] * 3
    np.testing.assert_array_equal(read["observation"], [[1, 2, 3]] * 3)
    np.testing.assert_array_equal(read["offered"], [[-1, 0.5], [np.nan, np.nan], [np.nan, np.nan]])


@pytest.mark.parametrize("version", [1, 4])
def test_another_version_is_refused_with_its_number(tmp_path: Path, version: int) -> None:
    text = to_json(traces.header()).replace('"version": 3', f'"version": {version}').encode()
    (tmp_path / "t").write_bytes(b"ODTRACE1" + len(text).to_bytes(4, "little") + text)
    with pytest.raises(FormatError, match=f"version {version} of the format"):
        read_trace(tmp_path / "t")


@given(st.binary(max_size=120))
def test_random_bytes_raise_a_format_error(folder: Path, data: bytes) -> None:
    (folder / "random").write_bytes(b"ODTRACE1" + data)
    with pytest.raises(FormatError):
        read_trace(folder / "random")
