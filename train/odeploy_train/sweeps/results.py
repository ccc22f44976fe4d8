"""Results of sweeps: JSON lines, one per finished run."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path("results")
Line = dict[str, Any]
"""Spec, scores, learning curve and provenance of one run."""


def finished(results: Path) -> set[str]:
    """Return the keys of the runs that have a line."""
    return {line["key"] for line in lines(results)} if results.exists() else set()


def lines(results: Path) -> Iterator[Line]:
    """Yield the lines of a results file; a line cut off by a power failure is skipped."""
    for text in results.read_text().splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue


def append(results: Path, line: Line) -> None:
    """Append a line; it is on disk when this returns."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
