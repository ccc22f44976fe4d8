"""The wire protocol: messages are decoded as sent, and invalid frames only raise WireError."""

import json
import math
import struct
from pathlib import Path
from typing import Any, get_type_hints

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import WireError
from odeploy_runtime.transport import messages

TYPES: tuple[type[Any], ...] = (
    messages.Hello,
    messages.Ready,
    messages.Refused,
    messages.Observation,
    messages.Action,
    messages.Error,
    messages.Bye,
    messages.Ping,
    messages.Health,
)
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=200),
    list[str]: st.lists(st.text(max_size=8), max_size=6),
}


def messages_of(kind: type[Any]) -> st.SearchStrategy[messages.Message]:
    hints = get_type_hints(kind)
    return st.tuples(*(FIELDS[hints[name]] for name in kind._fields)).map(lambda values: kind(*values))


MESSAGES = st.one_of(*(messages_of(kind) for kind in TYPES))
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text() | st.binary(), inner, max_size=3),
    max_leaves=20,
)
OBSERVATION = messages.Observation(session=1, episode=2, seq=3, sent_ns=4, values=b"\0\0\x80?")


def only_wire_error(frame: bytes) -> None:
    try:
        message = messages.unpack(frame)
    except WireError:
        return
    assert isinstance(message, TYPES)
    for name, expected in get_type_hints(type(message)).items():
        value = getattr(message, name)
        assert isinstance(
            value, (int, float) if expected is float else (list if expected == list[str] else expected)
        )


@given(MESSAGES)
def test_every_message_is_decoded_as_sent(message: messages.Message) -> None:
    back = messages.unpack(messages.pack(message))
    assert type(back) is type(message)
    assert back == message


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_wire_errors(frame: bytes) -> None:
    only_wire_error(frame)


@given(MESSAGES, st.data())
def test_a_mutated_frame_raises_only_wire_errors(message: messages.Message, data: st.DataObject) -> None:
    frame = bytearray(messages.pack(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    only_wire_error(bytes(frame))


@given(MESSAGES)
def test_a_truncated_frame_is_refused_at_every_length(message: messages.Message) -> None:
    frame = messages.pack(message)
    for length in range(len(frame)):
        with pytest.raises(WireError):
            messages.unpack(frame[:length])


@given(JSON_LIKE, st.integers(0, 9))
def test_any_structure_in_any_place_raises_only_wire_errors(value: Any, code: int) -> None:
    only_wire_error(msgpack.packb(value))
    only_wire_error(msgpack.packb([code, *value] if isinstance(value, list) else [code, value]))


@given(MESSAGES, JSON_LIKE, st.data())
def test_a_field_of_any_other_type_is_refused_by_name(
    message: messages.Message, value: Any, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(message) - 1))
    fields = list(message)
    fits = type(value) is type(fields[place]) or (type(fields[place]) is float and type(value) is int)
    fields[place] = value
    frame = msgpack.packb([TYPES.index(type(message)) + 1, *fields])
    if fits:
        only_wire_error(frame)
        return
    with pytest.raises(WireError, match=f"{type(message).__name__}.{type(message)._fields[place]} as"):
        messages.unpack(frame)


@pytest.mark.parametrize(
    ("names", "found"),
    [(["x", b"y"], "bytes at place 1"), ([7], "int at place 0"), ("x", "str"), (None, "NoneType")],
)
def test_a_list_with_an_entry_that_is_no_string_is_refused_with_its_place(names: Any, found: str) -> None:
    frame = msgpack.packb([1, 1, "robot", "task", 100.0, 0, names, ["u"]])
    with pytest.raises(WireError, match=f"expected Hello.observation as a list of str, got {found}"):
        messages.unpack(frame)


@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1k", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize("depth", [100, 600, 1_100, 15_000])
def test_nested_frames_are_refused(opener: bytes, depth: int) -> None:
    with pytest.raises(WireError):
        messages.unpack(opener * depth + b"\xc0")


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 2³² - 1
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xdb\xff\xff\xff\xff",  # a string
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\x92\x04\xdd\x7f\xff\xff\xff",
    ],
)
def test_a_length_beyond_the_frame_is_refused(bomb: bytes) -> None:
    with pytest.raises(WireError):
        messages.unpack(bomb)


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x90", b"\xc0", b"\x01", b"\x91\x00", b"\x91\x0a", b"\x91\xff", b"\x91\xc3", b"\x91\xcb" + bytes(8)],
)
def test_an_array_without_a_message_type_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        messages.unpack(frame)


def test_a_frame_with_bytes_after_the_message_is_refused() -> None:
    with pytest.raises(WireError):
        messages.unpack(messages.pack(OBSERVATION) + b"\x00")


@pytest.mark.parametrize("seq", [-1, 2**63, 2**64 - 1])
def test_a_number_outside_63_bits_is_refused(seq: int) -> None:
    frame = msgpack.packb([4, 1, 2, seq, 4, b""])
    with pytest.raises(WireError, match=rf"Observation\.seq from 0 to {2**63 - 1}, got {seq};"):
        messages.unpack(frame)


def test_a_missing_field_is_refused_and_the_count_is_named() -> None:
    with pytest.raises(WireError, match="Observation with 5 fields, got 4"):
        messages.unpack(msgpack.packb([4, 1, 2, 3, 4]))


def test_a_missing_field_with_a_default_takes_it() -> None:
    sent = messages.Hello(1, "robot", "task", 100.0, 0, ["x"], ["u"])
    message = messages.unpack(msgpack.packb([1, *sent[:-1]]))
    assert message == sent
    assert message.mode == "request"


@given(MESSAGES, st.lists(JSON_LIKE, max_size=3))
def test_fields_that_a_newer_peer_adds_are_ignored(message: messages.Message, more: list[Any]) -> None:
    assert messages.unpack(msgpack.packb([TYPES.index(type(message)) + 1, *message, *more])) == message


def test_a_rate_sent_as_an_integer_is_accepted() -> None:
    message = messages.unpack(msgpack.packb([1, 1, "robot", "task", 100, 0, ["x"], ["u"]]))
    assert isinstance(message, messages.Hello)
    assert message.rate_hz == 100


def test_an_extension_type_is_refused_in_every_place() -> None:
    for place in range(5):
        fields: list[Any] = [4, *OBSERVATION]
        fields[1 + place] = msgpack.Timestamp(1, 2)
        with pytest.raises(WireError):
            messages.unpack(msgpack.packb(fields))


@given(st.lists(st.floats(width=32), max_size=20))
def test_a_vector_is_encoded_as_little_endian_float32(values: list[float]) -> None:
    data = messages.to_bytes(np.array(values, np.float32))
    assert data == struct.pack(f"<{len(values)}f", *values)
    back = messages.from_bytes(data, len(values))
    assert back is not None
    assert back.tobytes() == data


@pytest.mark.parametrize("size", [0, 3, 4, 7, 9, 12])
def test_a_vector_of_another_length_is_none(size: int) -> None:
    assert messages.from_bytes(bytes(size), 2) is None


def test_a_big_endian_vector_is_converted() -> None:
    assert messages.to_bytes(np.array([1.5, -2.0], ">f4")) == struct.pack("<2f", 1.5, -2.0)


@given(st.lists(st.floats(width=32), min_size=1, max_size=70))
def test_the_first_entry_that_is_not_finite_is_named(values: list[float]) -> None:
    names = [f"s{i}" for i in range(len(values))]
    expected = next((n for n, v in zip(names, values, strict=True) if not math.isfinite(v)), None)
    assert messages.first_not_finite(np.array(values, np.float32), names) == expected


def test_the_non_finite_signal_in_an_action_chunk_is_named_by_its_place_in_the_action() -> None:
    chunk = np.zeros((3, 2), np.float32)
    chunk[2, 1] = np.nan
    assert messages.first_not_finite(chunk.reshape(-1), ["a", "b"]) == "b"


VECTORS = json.loads((Path(__file__).parents[4] / "docs/reference/wire-vectors.json").read_text())


def message_of(vector: dict[str, Any]) -> messages.Message:
    fields = {k: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for k, v in vector["fields"].items()}
    message: messages.Message = getattr(messages, vector["type"])(**fields)
    return message


def note_of(vector: dict[str, Any]) -> str:
    return f"{vector.get('type', '')} {vector['note']}"


def test_the_vectors_have_this_protocol_version_and_every_message() -> None:
    assert VECTORS["protocol"] == messages.PROTOCOL
    assert {vector["type"] for vector in VECTORS["messages"]} == {kind.__name__ for kind in TYPES}


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=note_of)
def test_frames_are_byte_for_byte_those_of_other_releases_and_languages(vector: dict[str, Any]) -> None:
    frame, message = bytes.fromhex(vector["frame"]), message_of(vector)
    assert messages.pack(message) == frame
    assert messages.unpack(frame) == message


@pytest.mark.parametrize("vector", VECTORS["read"], ids=note_of)
def test_frames_that_this_release_does_not_write_are_read(vector: dict[str, Any]) -> None:
    assert messages.unpack(bytes.fromhex(vector["frame"])) == message_of(vector)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=note_of)
def test_frames_that_are_no_message_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        messages.unpack(bytes.fromhex(vector["frame"]))


def test_codes_have_the_numbers_of_other_releases() -> None:
    assert (messages.OK, messages.FAR) == (0, 1)
    codes = (
        messages.UNKNOWN_SESSION,
        messages.WRONG_LENGTH,
        messages.NOT_FINITE,
        messages.MALFORMED,
        messages.INFERENCE_FAILED,
    )
    assert (*codes, messages.FAR_OUTSIDE) == (1, 2, 3, 4, 5, 6)
