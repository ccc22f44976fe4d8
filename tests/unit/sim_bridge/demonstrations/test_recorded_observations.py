"""Recorded observations in files: by key or column, or one line that says what is wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from odeploy_runtime.errors import ContractError, FormatError, MissingError, OdeployError
from odeploy_runtime.signals import Signal
from odeploy_sim.demonstrations.recorded_observations import recorded_observations
from odeploy_sim.tasks.task import Task

ARM = Task("arm", (Signal("q", "rad"), Signal("v", "rad/s")), (Signal("u", "N·m", -2, 2),), 50, 100)
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def table(path: Path, **columns: object) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_an_npz_has_them_under_its_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", observations=VALUES.astype(np.float64), actions=np.zeros(3))
    found = recorded_observations(str(tmp_path / "a.npz"), ARM)
    np.testing.assert_array_equal(found, VALUES)
    assert found.dtype == np.float32


@pytest.mark.parametrize("prefix", ["", "observation."])
def test_a_parquet_file_has_them_in_columns_by_name_in_any_order(tmp_path: Path, prefix: str) -> None:
    columns = {f"{prefix}v": VALUES[:, 1], "time": np.zeros(3), f"{prefix}q": VALUES[:, 0].astype(np.float64)}
    np.testing.assert_array_equal(recorded_observations(table(tmp_path / "a.parquet", **columns), ARM), VALUES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"obs": VALUES}, "an array `observations`, got obs"),
        ({"observations": VALUES[:, :1]}, r"shape \(M, 2\), the signals of arm, got shape \(3, 1\)"),
        ({"observations": VALUES[:0]}, "rows of 2 signals, got none"),
        ({"observations": np.array([[0, 1], [2, np.nan]])}, "got nan in row 1, signal v"),
    ],
)
def test_arrays_of_another_task_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=message):
        recorded_observations(str(tmp_path / "a.npz"), ARM)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="a column v, a signal of arm, got q"):
        recorded_observations(table(tmp_path / "a.parquet", q=VALUES[:, 0]), ARM)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_missing_and_damaged_files_are_named_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(MissingError, match=f"--demos {path}: expected recorded observations"):
        recorded_observations(str(path), ARM)
    path.write_bytes(b"PK not what it seems")
    with pytest.raises(FormatError, match=f"--demos {path}"):
        recorded_observations(str(path), ARM)


def test_objects_and_words_are_not_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", observations=np.array([[{}, {}]], object))
    for source in (str(tmp_path / "a.npz"), table(tmp_path / "a.parquet", q=["x"], v=["y"])):
        with pytest.raises(OdeployError, match="write the file again"):
            recorded_observations(source, ARM)
