"""Messages between a robot and the server, one MessagePack frame each.

See docs/reference/protocol.md.

A message is an array `[type, field, ...]`. Vectors are float32 little-endian bytes; their length is fixed by the
handshake, so neither type nor shape is read from the peer. New fields come last, with defaults, and readers ignore
unknown fields; a type never changes. Never pickle.
"""

import math
from collections.abc import Sequence
from types import UnionType
from typing import Any, NamedTuple, get_type_hints

import msgpack
import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import WireError

PROTOCOL = 1
MAX_FRAME_BYTES = 65536

# Action.status
OK, FAR = 0, 1
# Error.code
UNKNOWN_SESSION, WRONG_LENGTH, NOT_FINITE, MALFORMED, INFERENCE_FAILED, FAR_OUTSIDE = 1, 2, 3, 4, 5, 6


class Hello(NamedTuple):
    """Robot → server: name, task and the signals of its vectors, in order.

    `mode` is `request` or `stream`.
    """

    protocol: int
    robot: str
    task: str
    rate_hz: float
    seed: int
    observation: list[str]
    action: list[str]
    mode: str = "request"


class Ready(NamedTuple):
    """Server → robot: the session and its policy.

    `command` names the robot's signals that the operator sets, in the operator's order. `predecessors` are the
    fingerprints of the policies served before, 256 at most, the latest last: a robot that began with one of them
    may reconnect and continue. `provider` names what computes the policy, for the robot's records.
    """

    protocol: int
    session: int
    policy: str
    fingerprint: str
    rate_hz: float
    horizon: int
    command: list[str] = []  # noqa: RUF012 - a tuple's field; never written to
    predecessors: list[str] = []  # noqa: RUF012
    provider: str = ""


class Refused(NamedTuple):
    """Server → robot: no session; the reason in one line."""

    reason: str


class Observation(NamedTuple):
    """Robot → server: the observation at tick `seq` of `episode`.

    `values` is float32[O].
    """

    session: int
    episode: int
    seq: int
    sent_ns: int
    values: bytes


class Action(NamedTuple):
    """Server → robot: H actions; `values` is float32[H, A].

    `seq` is its observation's. The four stamps come from the server's monotonic clock; `started_ns - received_ns`
    is the time from the observation's arrival to the start of the inference.
    """

    session: int
    episode: int
    seq: int
    policy_epoch: int
    status: int
    received_ns: int
    started_ns: int
    inferred_ns: int
    replied_ns: int
    values: bytes


class Error(NamedTuple):
    """Server → robot: no action for observation `seq`.

    `signal` names the faulty signal, if any.
    """

    seq: int
    code: int
    signal: str


class Bye(NamedTuple):
    """Either direction: end of the session."""

    session: int


class Ping(NamedTuple):
    """Any client → server: request for `Health`; needs no session."""

    protocol: int


class Health(NamedTuple):
    """Server → client: liveness by its arrival, readiness by `ready`.

    `ready` is 1 if a robot could connect.

    Counts are since the server's start.

    Attributes:
        up_ns: time since the server began to serve.
        sessions: connected robots.
        actions, errors, dropped: observations answered, answered with an error, dropped over the rate cap.
        refusals, skipped: rejected robots, missed ticks of streams.
        inference_ns: time spent in the policy.
        fingerprints: fingerprints of the policies served, 256 at most; the last belongs to `policy_epoch`.
        signals: names of the action's signals, in order.
        shadow: fingerprint of the shadow policy; empty without one, and the rest is then meaningless.
        shadow_compared: ticks compared since this shadow and the served policy are in place.
        shadow_dropped: ticks for which the shadow was too slow.
        shadow_mean, shadow_max: distance of its actions from the served ones, on unit scale; float32[A].
    """

    protocol: int
    ready: int
    policy: str
    fingerprint: str
    policy_epoch: int
    up_ns: int
    sessions: int
    actions: int
    errors: int
    dropped: int
    refusals: int = 0
    skipped: int = 0
    inference_ns: int = 0
    fingerprints: list[str] = []  # noqa: RUF012 - a tuple's field; never written to
    signals: list[str] = []  # noqa: RUF012
    shadow: str = ""
    shadow_compared: int = 0
    shadow_dropped: int = 0
    shadow_mean: bytes = b""
    shadow_max: bytes = b""


Message = Hello | Ready | Refused | Observation | Action | Error | Bye | Ping | Health
_TYPES: tuple[type[Any], ...] = (Hello, Ready, Refused, Observation, Action, Error, Bye, Ping, Health)
_CODE = {kind: code for code, kind in enumerate(_TYPES, start=1)}


def _field_types(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((name, (int | float) if hints[name] is float else hints[name]) for name in kind._fields)


_FIELDS = {kind: _field_types(kind) for kind in _TYPES}
_REQUIRED = {kind: len(kind._fields) - len(kind._field_defaults) for kind in _TYPES}
_MAX_INT = 2**63 - 1
# Messages of every tick: n integers, then bytes, all checked at once: 3 µs less than field by field.
_NUMBERS_AND_BYTES: dict[type[Any], int] = {Observation: 4, Action: 9}
_PLAIN = {numbers: [int] * numbers + [bytes] for numbers in _NUMBERS_AND_BYTES.values()}


def pack(message: Message) -> bytes:
    """Encode a message as one frame."""
    frame: bytes = msgpack.packb((_CODE[type(message)], *message))
    return frame


def unpack(frame: bytes) -> Message:
    """Decode and check a frame from an untrusted peer.

    Raises:
        WireError: not MessagePack, an unknown type, a missing field or one of the wrong type.
    """
    try:
        parts = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except Exception as error:  # noqa: BLE001 - a hostile frame can make the decoder raise anything
        raise _malformed(
            "a MessagePack array", f"{len(frame)} bytes that do not parse: {type(error).__name__}"
        ) from None
    if type(parts) is not list or not parts or type(parts[0]) is not int:
        raise _malformed("an array that begins with a type number", type(parts).__name__)
    if not 1 <= parts[0] <= len(_TYPES):
        raise _malformed(f"a type from 1 to {len(_TYPES)}", str(parts[0]))
    kind, given = _TYPES[parts[0] - 1], parts[1:]
    if (numbers := _NUMBERS_AND_BYTES.get(kind)) and _is_plain(given, numbers):
        plain: Message = kind(*given)
        return plain
    if len(given) < _REQUIRED[kind]:
        raise _malformed(f"{kind.__name__} with {_REQUIRED[kind]} fields", str(len(given)))
    fields = _FIELDS[kind]
    for (name, wanted), value in zip(fields, given, strict=False):
        if not _fits(value, wanted):
            number = wanted is int and type(value) is int
            expected = f"from 0 to {_MAX_INT}" if number else f"as {_name(wanted)}"
            raise _malformed(f"{kind.__name__}.{name} {expected}", str(value) if number else _found(value))
    message: Message = kind(*given[: len(fields)])
    return message


def _is_plain(given: list[Any], numbers: int) -> bool:
    if [*map(type, given)] != _PLAIN[numbers]:
        return False
    integers = given[:numbers]
    return bool(min(integers) >= 0 and max(integers) <= _MAX_INT)


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is int:
        return type(value) is int and 0 <= value <= _MAX_INT
    if isinstance(wanted, UnionType):
        return type(value) in (int, float)
    if wanted == list[str]:
        return type(value) is list and all(type(v) is str for v in value)
    return type(value) is wanted


def _name(wanted: Any) -> str:
    if wanted == list[str]:
        return "a list of str"
    return "a number" if isinstance(wanted, UnionType) else str(wanted.__name__)


def _found(value: Any) -> str:
    """Return the type of a wrong value; in a list, of the first entry not a str."""
    if type(value) is list:
        for place, entry in enumerate(value):
            if type(entry) is not str:
                return f"{type(entry).__name__} at place {place}"
    return type(value).__name__


def _malformed(expected: str, got: str) -> WireError:
    return WireError(where="message", expected=expected, got=got, remedy="follow docs/reference/protocol.md")


def to_bytes(values: NDArray[np.float32]) -> bytes:
    """Return a vector's bytes: float32, little-endian, C order."""
    return values.astype("<f4", copy=False).tobytes()


def from_bytes(data: bytes, count: int) -> NDArray[np.float32] | None:
    """Return the vector of `to_bytes`, read-only.

    Return None if it does not hold `count` numbers.
    """
    return np.frombuffer(data, "<f4") if len(data) == 4 * count else None


def first_not_finite(values: NDArray[np.float32], names: Sequence[str]) -> str | None:
    """Return the name of the first NaN or infinite entry of a vector.

    Return None if all are finite.
    """
    if math.isfinite(sum(values.tolist())):  # a fifth of the cost of np.isfinite at this size; cannot overflow
        return None
    finite = np.isfinite(values)
    return None if finite.all() else names[int(finite.argmin()) % len(names)]
