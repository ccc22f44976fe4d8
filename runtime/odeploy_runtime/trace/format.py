"""The trace format: one row per due tick, held and skipped ones included.

A file can be read up to the moment of a kill.

A file is `ODTRACE1`, the length of a JSON header as uint32, the header, then rows of fixed size, all
little-endian. docs/reference/latency.md describes each stamp.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_runtime.signals import Signal

STAMPS = (
    "due", "woke", "observed", "sent", "received", "started",
    "inferred", "replied", "arrived", "applied", "stepped",
)  # fmt: skip
_VECTORS = ("observation", "action", "offered")
APPLIED, HELD, SKIPPED = 0, 1, 2
# Whether a tick ended its episode. INVALID: the simulation broke; STOPPED: a person or a process signal ended it.
GOES_ON, ENDED, INVALID, STOPPED = 0, 1, 2, 3
MAGIC = b"ODTRACE1"
HEADER_VERSION = 3
LOST = 3  # kind of the row that closes a trace: `tick` holds the number of rows that never reached the file
# episode, tick, kind, guard state, clamped, success, policy epoch, end, cause of the state, reward, age of the
# observation, stamps. Older traces, which record no causes, have a 0 byte in the cause's place.
FIXED = struct.Struct("<IIBBBBHBBfq11q")


@dataclass(frozen=True)
class TraceHeader:
    """Description of the run that the rows belong to.

    Attributes:
        version: version of this structure.
        task: name of the task.
        scored_by: `success` or `return`.
        mode: `lockstep`, `realtime` or `stream`.
        rate_hz: ticks per wall-clock second.
        task_rate_hz: ticks per simulated second; rate_hz / task_rate_hz is the speed.
        deadline_ns: latest hand-over of a command, counted from due; 0 in lockstep.
        seed: seed of resets and noise.
        policy: name of the policy.
        fingerprint: fingerprint of the policy file.
        observation: signals of each row's observation.
        action: signals of each row's command.
        obtained: real-time settings that the robot's process obtained.
        noise_level: scale of the task's noise; 1 is the catalogued task.
        blend: blending of overlapping chunks, see `robot/chunk_playback.py`; None where each action comes from one
            answer.
        task_digest: digest of the task's signals, limits, rate and horizon; empty in older traces.
        commanded: names of the signals that an operator could set during the run.
        provider: what computed the policy at the start: `native`, or ONNX Runtime's name of its provider; empty in
            older traces.
        transport: how frames travelled, see `transport/link.py`; empty in older traces.
    """

    version: int
    task: str
    scored_by: str
    mode: str
    rate_hz: float
    task_rate_hz: float
    deadline_ns: int
    seed: int
    policy: str
    fingerprint: str
    observation: tuple[Signal, ...]
    action: tuple[Signal, ...]
    obtained: dict[str, str]
    noise_level: float = 1.0
    blend: float | None = None
    task_digest: str = ""
    commanded: tuple[str, ...] = ()
    provider: str = ""
    transport: str = ""


def new_header(**fields: Any) -> TraceHeader:
    """Return a header of the current version."""
    return TraceHeader(version=HEADER_VERSION, **fields)


def row_type(observation_size: int, action_size: int) -> np.dtype[np.void]:
    """Return the NumPy type of a row.

    `observation` is NaN for the last command of an episode that an interrupt ended between two ticks. `action` is
    the command, `offered` the policy's action before the guard; NaN where nothing arrived.
    """
    return np.dtype(
        [
            ("episode", "<u4"),
            ("tick", "<u4"),
            ("kind", "u1"),
            ("state", "u1"),
            ("clamped", "u1"),
            ("success", "u1"),
            ("epoch", "<u2"),
            ("end", "u1"),
            ("cause", "u1"),
            ("reward", "<f4"),
            ("age_ns", "<i8"),
            ("stamps", "<i8", (len(STAMPS),)),
            ("observation", "<f4", (observation_size,)),
            ("action", "<f4", (action_size,)),
            ("offered", "<f4", (action_size,)),
        ]
    )


@dataclass(frozen=True)
class Trace:
    """A trace in memory.

    Attributes:
        header: description of the run.
        rows: one per due tick, with the fields of `row_type`. Shape (ticks,).
        lost: rows that never reached the file, as far as it records them.
    """

    header: TraceHeader
    rows: NDArray[np.void]
    lost: int = 0

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return each column by name, for `pandas.DataFrame`; views of the rows.

        Each stamp is a column, such as `woke_ns`, and each signal: `observation.NAME`, `action.NAME` for the
        command, `offered.NAME` for the action before the guard.
        """
        columns: dict[str, NDArray[Any]] = {}
        for name in self.rows.dtype.names or ():
            if name == "stamps":
                columns |= {f"{stamp}_ns": self.rows[name][:, i] for i, stamp in enumerate(STAMPS)}
            elif name in _VECTORS:
                signals = self.header.observation if name == "observation" else self.header.action
                columns |= {f"{name}.{s.name}": self.rows[name][:, i] for i, s in enumerate(signals)}
            else:
                columns[name] = self.rows[name]
        return columns


def not_a_trace(path: Path, got: str) -> FormatError:
    """Return the error for a file that is not a trace."""
    return FormatError(
        where=str(path),
        expected="a trace written by `odeploy sim` or `odeploy bench`",
        got=got,
        remedy="give the path of a .trace file",
    )
