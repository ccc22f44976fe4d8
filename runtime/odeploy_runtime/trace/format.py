"""The trace: one row per tick that was due, also for held and skipped ones; readable up to a kill.

The file is `ODTRACE1`, the length of a JSON header as uint32, the header, then rows of fixed size, all
little-endian. `odeploy_runtime/trace/writer.py` writes it. docs/reference/latency.md says what each stamp means.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import from_json

STAMPS = (
    "due", "woke", "observed", "sent", "received", "started",
    "inferred", "replied", "arrived", "applied", "stepped",
)  # fmt: skip
APPLIED, HELD, SKIPPED = 0, 1, 2
# What a tick was to its episode. INVALID: the simulation broke; STOPPED: a person, or a signal, ended it.
GOES_ON, ENDED, INVALID, STOPPED = 0, 1, 2, 3
MAGIC = b"ODTRACE1"
_HEADER_VERSION = 3
_WITHOUT_OFFERED = 2  # the version before rows had the action as it was offered
LOST = 3  # kind of a row that is no tick but the trace's end: `tick` says how many rows never reached the file
# episode, tick, kind, guard state, clamped, success, policy epoch, end, the state's cause, reward, observation's
# age, stamps. The cause took the place of a byte that was 0 in older traces, which say nothing of causes.
FIXED = struct.Struct("<IIBBBBHBBfq11q")


@dataclass(frozen=True)
class TraceHeader:
    """What the rows belong to.

    Attributes:
        version: of this structure.
        task: name of the task.
        scored_by: `success` or `return`.
        mode: `lockstep`, `realtime` or `stream`.
        rate_hz: ticks per wall-clock second.
        task_rate_hz: ticks per simulated second; rate_hz / task_rate_hz is the speed.
        deadline_ns: after due, by when a command must have been handed over; 0 in lockstep.
        seed: of resets and noise.
        policy: name of the policy.
        fingerprint: of its file.
        observation: signals of each row's observation.
        action: signals of each row's command.
        obtained: real-time settings that the robot's process got.
        noise_level: of the task; 1 is the task as it is catalogued.
        blend: of chunks that overlap, see `robot/chunk_playback.py`; None where each action is one answer's.
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


def new_header(**fields: Any) -> TraceHeader:
    """A header of the present version."""
    return TraceHeader(version=_HEADER_VERSION, **fields)


def row_type(observation_size: int, action_size: int) -> np.dtype[np.void]:
    """One row as NumPy reads it.

    `action` is what was commanded, `offered` what the policy had said before the guard; NaN where nothing arrived.
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
    """A trace that was read back.

    Attributes:
        header: what the rows belong to.
        rows: with the fields of `row_type`.
        lost: rows that never reached the file, as far as it says so.
    """

    header: TraceHeader
    rows: NDArray[np.void]
    lost: int = 0


def read_trace(path: Path) -> Trace:
    """Reads a trace, or one that became Parquet; a torn last row, as a kill leaves it, is dropped.

    Raises:
        FormatError: not a trace, or of another version.
    """
    if path.suffix == ".parquet":
        from odeploy_runtime.trace.parquet import read_parquet  # pyarrow is an extra

        return read_parquet(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise not_a_trace(path, error.strerror or type(error).__name__) from None
    if data[:8] != MAGIC or len(data) < 12:
        raise not_a_trace(path, "a file that does not begin as one")
    (length,) = struct.unpack_from("<I", data, 8)
    if len(data) < 12 + length:
        raise not_a_trace(path, "a file cut within its header")
    header = from_json(TraceHeader, data[12 : 12 + length], str(path))
    if header.version not in (_WITHOUT_OFFERED, _HEADER_VERSION):
        raise not_a_trace(path, f"version {header.version} of the format")
    kind = row_type(len(header.observation), len(header.action))
    if header.version == _WITHOUT_OFFERED:
        kind = np.dtype([(name, kind[name]) for name in kind.names or () if name != "offered"])
    rows = np.frombuffer(data, kind, (len(data) - 12 - length) // kind.itemsize, 12 + length)
    if header.version == _WITHOUT_OFFERED:
        rows = _with_offered(header, rows)
    if len(rows) and rows[-1]["kind"] == LOST:
        return Trace(header, rows[:-1], int(rows[-1]["tick"]))
    return Trace(header, rows)


def _with_offered(header: TraceHeader, old: NDArray[np.void]) -> NDArray[np.void]:
    """Rows of the version before: what was applied unchanged is what was offered; of the rest nothing is known."""
    rows = np.zeros(len(old), row_type(len(header.observation), len(header.action)))
    for name in old.dtype.names or ():
        rows[name] = old[name]
    unchanged = (old["kind"] == APPLIED) & (old["clamped"] == 0)
    rows["offered"] = np.where(unchanged[:, None], old["action"], np.float32(np.nan))
    rows["offered"][old["kind"] == SKIPPED] = 0
    return rows


def not_a_trace(path: Path, got: str) -> FormatError:
    """What a file is refused with that is no trace."""
    return FormatError(
        where=str(path),
        expected="a trace that `odeploy sim` or `odeploy bench` wrote",
        got=got,
        remedy="give the path of a .trace file",
    )
