"""Hand-made traces: the header of a small robot, and rows from numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.signals import Signal
from odeploy_runtime.trace.format import APPLIED, STAMPS, TraceHeader, new_header, row_type
from odeploy_runtime.trace.writer import TraceWriter

OBSERVATION = (Signal("x", "m", -4.0, 4.0), Signal("y", "m"), Signal("speed", "m/s"))
ACTION = (Signal("motor_x", "N", -1.0, 1.0, 0.25), Signal("motor_y", "N", -1.0, 1.0))


def header(**changes: Any) -> TraceHeader:
    fields: dict[str, Any] = {
        "task": "maze-medium",
        "transport": "lane",
        "scored_by": "success",
        "mode": "realtime",
        "rate_hz": 200.0,
        "task_rate_hz": 100.0,
        "deadline_ns": 4_000_000,
        "seed": 1,
        "policy": "teacher",
        "fingerprint": "f" * 64,
        "observation": OBSERVATION,
        "action": ACTION,
        "obtained": {"timer slack": "1 ns"},
    }
    return new_header(**(fields | changes))


def stamps(**given: int) -> tuple[int, ...]:
    """Return all eleven stamps, 0 for those not given."""
    return tuple(given.get(name, 0) for name in STAMPS)


def rows(*each: dict[str, Any]) -> NDArray[np.void]:
    """Return rows with the given fields, 0 elsewhere; `stamps` may be a dictionary."""
    made = np.zeros(len(each), row_type(len(OBSERVATION), len(ACTION)))
    for row, fields in zip(made, each, strict=True):
        for name, value in fields.items():
            row[name] = stamps(**value) if isinstance(value, dict) else value
    return made


def numbered(count: int) -> list[dict[str, Any]]:
    """Return applied ticks for `write`, numbered from 0."""
    return [
        {"episode": 0, "tick": i, "kind": APPLIED, "stamps": (i,) * 11, "values": bytes(20)} for i in range(count)
    ]


def write(path: Path, *each: dict[str, Any], capacity: int = 100, **changes: Any) -> None:
    """Write a file of rows, given as arguments of `TraceWriter.append`."""
    writer = TraceWriter(path, header(**changes), capacity)
    for fields in each:
        writer.append(**fields)
    writer.close()
