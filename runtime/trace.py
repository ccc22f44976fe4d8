"""The trace: one row per tick that was due, also for held and skipped ones; readable up to a kill.

While the loop runs, a row is packed into preallocated memory; the file is appended to between episodes. The
file is `ODTRACE1`, the length of a JSON header as uint32, the header, then rows of fixed size, all
little-endian. docs/latency.md says what each stamp means.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import FormatError
from runtime.signals import Signal
from runtime.typed_json import from_json, to_json

STAMPS = (
    "due", "woke", "observed", "sent", "received", "started",
    "inferred", "replied", "arrived", "applied", "stepped",
)  # fmt: skip
APPLIED, HELD, SKIPPED = 0, 1, 2
# What a tick was to its episode. INVALID: the simulation broke; STOPPED: a person, or a signal, ended it.
GOES_ON, ENDED, INVALID, STOPPED = 0, 1, 2, 3
_MAGIC = b"ODTRACE1"
_HEADER_VERSION = 2
# episode, tick, kind, guard state, clamped, success, policy epoch, end, the state's cause, reward, observation's
# age, stamps. The cause took the place of a byte that was 0 in older traces, which say nothing of causes.
_FIXED = struct.Struct("<IIBBBBHBBfq11q")


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


def new_header(**fields: Any) -> TraceHeader:
    """A header of the present version."""
    return TraceHeader(version=_HEADER_VERSION, **fields)


def row_type(observation_size: int, action_size: int) -> np.dtype[np.void]:
    """One row as NumPy reads it."""
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
        ]
    )


class TraceWriter:
    """Appends rows to a file that nobody else writes.

    `append` costs about a microsecond and touches no file unless the buffer is full, which takes an episode
    longer than `capacity` ticks.
    """

    def __init__(self, path: Path, header: TraceHeader, capacity: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = to_json(header).encode()
        self._file = path.open("wb", buffering=0)
        self._file.write(_MAGIC + struct.pack("<I", len(text)) + text)
        self._size = row_type(len(header.observation), len(header.action)).itemsize
        self._buffer = bytearray(self._size * capacity)
        self._used = 0
        self.rows = 0

    def append(
        self,
        episode: int,
        tick: int,
        kind: int,
        stamps: tuple[int, ...],
        state: int = 0,
        clamped: bool = False,
        success: bool = False,
        epoch: int = 0,
        end: int = GOES_ON,
        cause: int = 0,
        reward: float = 0.0,
        age_ns: int = 0,
        values: bytes = b"",
    ) -> None:
        """Packs one row. `stamps` has all eleven, 0 for those that did not happen; `values` is observation
        and command as float32 bytes, empty for a skipped tick.
        """
        if self._used == len(self._buffer):
            self.flush()
        _FIXED.pack_into(
            self._buffer, self._used,
            episode, tick, kind, state, clamped, success, epoch, end, cause, reward, age_ns, *stamps,
        )  # fmt: skip
        start = self._used + _FIXED.size
        self._used += self._size
        self._buffer[start : self._used] = values or bytes(self._size - _FIXED.size)
        self.rows += 1

    def flush(self) -> None:
        """Writes what is buffered; call between episodes."""
        left = memoryview(self._buffer)[: self._used]
        while left:  # on a full disk the first write is short, and only the next one says so
            left = left[self._file.write(left) :]
        self._used = 0

    def close(self) -> None:
        """Flushes and closes."""
        try:
            self.flush()
        finally:
            self._file.close()


@dataclass(frozen=True)
class Trace:
    """A trace that was read back; `rows` has the fields of `row_type`."""

    header: TraceHeader
    rows: NDArray[np.void]


def read_trace(path: Path) -> Trace:
    """Reads a trace; a torn last row, as a kill leaves it, is dropped.

    Raises:
        FormatError: not a trace, or of a newer version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _not_a_trace(path, error.strerror or type(error).__name__) from None
    if data[:8] != _MAGIC or len(data) < 12:
        raise _not_a_trace(path, "a file that does not begin as one")
    (length,) = struct.unpack_from("<I", data, 8)
    if len(data) < 12 + length:
        raise _not_a_trace(path, "a file cut within its header")
    header = from_json(TraceHeader, data[12 : 12 + length], str(path))
    if header.version != _HEADER_VERSION:
        raise _not_a_trace(path, f"version {header.version} of the format")
    kind = row_type(len(header.observation), len(header.action))
    count = (len(data) - 12 - length) // kind.itemsize
    return Trace(header, np.frombuffer(data, kind, count, 12 + length))


def _not_a_trace(path: Path, got: str) -> FormatError:
    return FormatError(
        where=str(path),
        expected="a trace that `odeploy sim` or `odeploy bench` wrote",
        got=got,
        remedy="give the path of a .trace file",
    )
