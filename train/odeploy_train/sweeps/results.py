"""Results of sweeps: JSON lines, one per finished run."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from odeploy_runtime.regular_file import DATA_BYTES, read_regular
from odeploy_train.runs.algorithm_version import algorithm_version

RESULTS = Path("results")
Line = dict[str, Any]
"""Spec, scores, learning curve and provenance of one run."""


def finished(results: Path) -> set[str]:
    """Return the keys of the runs that have a line."""
    return {line["key"] for line in lines(results)} if results.exists() else set()


def lines(results: Path) -> Iterator[Line]:
    """Yield the lines of a results file; a line cut off by a power failure is skipped."""
    for text in read_regular(results, DATA_BYTES).decode().splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue


def version(line: Line) -> int:
    """Return the version of the training that a line is of; lines of before have none."""
    return int(line.get("version", 1))


def outdated(line: Line) -> bool:
    """Return whether the method's training was corrected since."""
    return version(line) < algorithm_version(line["verb"])


def newest(measured: Iterable[Line]) -> list[Line]:
    """Return the lines that count: one for each task, method and seed.

    All lines of a task and method have the same version, the newest. Of several lines of one run, the last counts.
    """
    lines = list(measured)
    versions: dict[tuple[str, str], int] = {}
    for line in lines:
        row = line["task"], line["method"]
        versions[row] = max(version(line), versions.get(row, 1))
    counting = [line for line in lines if version(line) == versions[line["task"], line["method"]]]
    return list({(line["task"], line["method"], line["seed"]): line for line in counting}.values())


def append(results: Path, line: Line) -> None:
    """Append a line; it is on disk when this returns."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
