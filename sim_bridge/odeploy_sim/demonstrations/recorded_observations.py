"""Recorded observations for the parity check: `--demos` of `odeploy export`.

| `--demos` | observations |
| --- | --- |
| a folder or a Minari id | those of the demonstrations |
| `FILE.npz` | the array `observations`, shape (M, O), in the order of the task's signals |
| `FILE.parquet` | columns named after the signals, also with `observation.` before the name, as in a trace |
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, FormatError, MissingError, first_line
from odeploy_runtime.regular_file import DATA_BYTES, require_regular
from odeploy_runtime.trace.parquet import require_pyarrow
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.task import Task

_KEY = "observations"


def recorded_observations(source: str, task: Task) -> NDArray[np.float32]:
    """Return the observations in a file or a dataset. Shape (M, O).

    Raises:
        MissingError: no such file or dataset, or pyarrow is not installed.
        FormatError: not a file of its type.
        ContractError: observations that are not those of the task.
    """
    path = Path(source)
    if path.suffix not in (".npz", ".parquet"):
        return load(source, task).observations
    try:
        require_regular(path, DATA_BYTES)
    except OSError as error:
        raise MissingError(
            where=f"--demos {source}",
            expected="recorded observations",
            got=error.strerror or type(error).__name__,
            remedy="correct the path",
        ) from None
    values = _npz(path, task) if path.suffix == ".npz" else _parquet(path, task)
    if not len(values):
        raise _misfit(path, f"rows of {len(task.observation)} signals", "none")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        name = task.observation_names[column]
        raise _misfit(path, "finite numbers", f"{values[row, column]} in row {row}, signal {name}")
    return values


def _npz(path: Path, task: Task) -> NDArray[np.float32]:
    O = len(task.observation)  # noqa: E741
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if _KEY not in arrays:
                raise _misfit(path, f"an array `{_KEY}`", ", ".join(arrays) or "no arrays")
            values = np.asarray(arrays[_KEY], np.float32)
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise _damaged(path, "numbers that NumPy's savez wrote", error) from None
    if values.ndim != 2 or values.shape[1] != O:
        raise _misfit(path, f"`{_KEY}` of shape (M, {O}), the signals of {task.name}", f"shape {values.shape}")
    return values


def _parquet(path: Path, task: Task) -> NDArray[np.float32]:
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = [
            f"observation.{n}" if f"observation.{n}" in table.column_names else n for n in task.observation_names
        ]
        missing = next((name for name in names if name not in table.column_names), None)
        if missing is not None:
            raise _misfit(path, f"a column {missing}, a signal of {task.name}", ", ".join(table.column_names))
        return np.stack([table[name].to_numpy().astype(np.float32) for name in names], axis=1)
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise _damaged(path, "a Parquet file with numbers in the columns of the signals", error) from None


def _misfit(path: Path, expected: str, got: str) -> ContractError:
    return ContractError(
        where=f"--demos {path}",
        expected=expected,
        got=got,
        remedy="record the task's observations, one row a tick",
    )


def _damaged(path: Path, expected: str, error: Exception) -> FormatError:
    return FormatError(
        where=f"--demos {path}", expected=expected, got=first_line(error), remedy="write the file again"
    )
