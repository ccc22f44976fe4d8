"""The protobuf walk: it finds every external tensor, and damage only leads to a refusal."""

from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.policy_file.protobuf import metadata_spans
from tests.unit.runtime import models

GRAPHS = [
    models.graph_with_initializer,
    models.graph_with_constant,
    models.graph_with_if,
    models.graph_with_loop,
    models.graph_with_sparse,
]
SMALL = models.model(models.graph_with_if(models.inside()), alpha="1", beta="", gamma="γ").SerializeToString()


def paths_to_a_tensor(message: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield all paths of onnx.proto's fields from a message to a tensor without repeated message types."""
    for field in message.fields:
        inner = field.message_type
        if inner is None or inner.name in seen:
            continue
        if inner.name == "TensorProto":
            yield (field,)
        for rest in paths_to_a_tensor(inner, (*seen, message.name)):
            yield (field, *rest)


PATHS = list(paths_to_a_tensor(onnx.ModelProto.DESCRIPTOR))


def model_with(path: tuple[Any, ...], tensor: onnx.TensorProto) -> bytes:
    place: Any
    place = built = onnx.ModelProto()
    for field in path:
        held = getattr(place, field.name)
        place = held.add() if hasattr(held, "add") else held
    place.CopyFrom(tensor)
    data: bytes = built.SerializeToString()
    return data


def varint(number: int) -> bytes:
    data = b""
    while number > 0x7F:
        data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
    return data + bytes([number])


def field_bytes(tag: int, payload: bytes) -> bytes:
    return varint(tag) + varint(len(payload)) + payload


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_model_without_external_data_passes(graph: Callable[[onnx.TensorProto], onnx.GraphProto]) -> None:
    assert metadata_spans(models.model(graph(models.inside())).SerializeToString(), "file") == {}


@pytest.mark.parametrize("graph", GRAPHS)
def test_external_data_are_refused_anywhere_in_a_graph(
    graph: Callable[[onnx.TensorProto], onnx.GraphProto],
) -> None:
    data = models.model(graph(models.outside())).SerializeToString()
    with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
        metadata_spans(data, "file")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(field.name for field in path))
def test_external_data_are_refused_on_every_path_of_onnx_proto(path: tuple[Any, ...]) -> None:
    metadata_spans(model_with(path, models.inside()), "file")
    with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
        metadata_spans(model_with(path, models.outside()), "file")


def test_the_tested_paths_include_the_deep_ones() -> None:
    names = {".".join(field.name for field in path) for path in PATHS}
    assert {"graph.initializer", "graph.node.attribute.t", "functions.node.attribute.tensors"} <= names
    assert {"training_info.algorithm.initializer", "graph.sparse_initializer.indices"} <= names


def test_a_location_alone_or_external_data_alone_is_enough_to_refuse() -> None:
    only_location, only_data = models.outside(), models.outside()
    del only_location.external_data[:]
    only_data.ClearField("data_location")
    for tensor in (only_location, only_data):
        data = models.model(models.graph_with_initializer(tensor)).SerializeToString()
        with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
            metadata_spans(data, "file")


def test_an_explicit_default_location_is_accepted() -> None:
    tensor = models.inside()
    tensor.data_location = onnx.TensorProto.DEFAULT
    metadata_spans(models.model(models.graph_with_initializer(tensor)).SerializeToString(), "file")


def test_external_data_hidden_in_a_second_piece_of_the_graph_are_refused() -> None:
    """Protobuf merges a repeated field."""
    hidden = onnx.GraphProto(initializer=[models.outside()]).SerializeToString()
    data = models.model(models.graph_with_initializer(models.inside())).SerializeToString()
    with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
        metadata_spans(data + field_bytes(7 << 3 | 2, hidden), "file")


@pytest.mark.parametrize("bit", [32, 33, 34, 40, 60])
def test_a_graph_hidden_behind_an_overlong_field_number_is_refused(bit: int) -> None:
    """C++ protobuf keeps 32 bits of a tag: ONNX Runtime would read field 7."""
    hidden = onnx.GraphProto(initializer=[models.outside()]).SerializeToString()
    data = models.model(models.graph_with_initializer(models.inside())).SerializeToString()
    with pytest.raises(PolicyFileError):
        metadata_spans(data + field_bytes(7 << 3 | 2 | 1 << bit, hidden), "file")


def test_a_field_number_with_extra_zero_bytes_is_still_that_field() -> None:
    hidden = onnx.GraphProto(initializer=[models.outside()]).SerializeToString()
    data = b"\xba\x80\x00" + varint(len(hidden)) + hidden
    with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
        metadata_spans(data, "file")


def test_metadata_spans_bound_each_value() -> None:
    spans = metadata_spans(SMALL, "file")
    assert {key: SMALL[start:end].decode() for key, (start, end) in spans.items()} == {
        "alpha": "1",
        "beta": "",
        "gamma": "γ",
    }


def test_a_repeated_metadata_key_is_refused() -> None:
    entry = onnx.StringStringEntryProto(key="alpha", value="2").SerializeToString()
    with pytest.raises(PolicyFileError, match="the metadata key alpha twice"):
        metadata_spans(SMALL + field_bytes(14 << 3 | 2, entry), "file")


def test_the_last_of_two_values_in_an_entry_is_read_as_in_protobuf() -> None:
    entry = onnx.StringStringEntryProto(key="k", value="first").SerializeToString() + field_bytes(
        2 << 3 | 2, b"last"
    )
    data = field_bytes(14 << 3 | 2, entry)
    assert onnx.ModelProto.FromString(data).metadata_props[0].value == "last"
    start, end = metadata_spans(data, "file")["k"]
    assert data[start:end] == b"last"


def test_a_file_cut_at_any_byte_is_refused_or_lacks_the_metadata_after_the_cut() -> None:
    """A cut between two top-level fields leaves a valid protobuf message; the fingerprint detects it."""
    whole = metadata_spans(SMALL, "file")
    for length in range(len(SMALL)):
        try:
            spans = metadata_spans(SMALL[:length], "file")
        except PolicyFileError:
            continue
        assert spans == {key: span for key, span in whole.items() if span[1] <= length}
        assert spans != whole


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_policy_file_errors(data: bytes) -> None:
    try:
        metadata_spans(data, "file")
    except PolicyFileError:
        return


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_a_mutated_file_raises_only_policy_file_errors(i: int, a: int, j: int, b: int) -> None:
    data = bytearray(SMALL)
    data[i], data[j] = a, b
    try:
        spans = metadata_spans(bytes(data), "file")
    except PolicyFileError:
        return
    assert all(0 <= start <= end <= len(data) for start, end in spans.values())


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"\x3a", "an unfinished number"),
        (b"\xff" * 12, "an unfinished number"),
        (b"\x3a\xff\xff\xff\xff\x0f", "a field that ends at byte"),
        (b"\x3a\x05abc", "a field that ends at byte 7 of 5"),
        (b"\x02\x00", "a field that ends at byte"),
        (b"\x09abc", "a field that ends at byte 9 of 4"),
        (b"\x0dabc", "a field that ends at byte 5 of 4"),
        (b"\x3b", "protobuf wire type 3"),
        (b"\x3e", "protobuf wire type 6"),
    ],
)
def test_a_broken_field_is_refused_with_the_cause(data: bytes, got: str) -> None:
    with pytest.raises(PolicyFileError, match=got):
        metadata_spans(data, "file")


def test_too_deep_nesting_is_refused_before_the_stack_overflows() -> None:
    graph = b""
    for _ in range(5_000):
        graph = field_bytes(1 << 3 | 2, field_bytes(5 << 3 | 2, field_bytes(6 << 3 | 2, graph)))
    with pytest.raises(PolicyFileError, match="nested deeper than 32"):
        metadata_spans(field_bytes(7 << 3 | 2, graph), "file")


def test_ten_nested_subgraphs_are_accepted_and_searched() -> None:
    for tensor in (models.inside(), models.outside()):
        graph = models.graph_with_initializer(tensor)
        for _ in range(9):
            node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=graph)
            graph = onnx.helper.make_graph([node], "level", [], [])
        data = models.model(graph).SerializeToString()
        if tensor.external_data:
            with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
                metadata_spans(data, "file")
        else:
            metadata_spans(data, "file")


def test_a_metadata_entry_without_key_or_value_is_skipped() -> None:
    keyless = onnx.StringStringEntryProto(value="1").SerializeToString()
    valueless = onnx.StringStringEntryProto(key="k").SerializeToString()
    data = b"".join(field_bytes(14 << 3 | 2, entry) for entry in (keyless, valueless, b""))
    assert metadata_spans(data, "file") == {}


def test_strings_that_look_like_tensors_are_accepted() -> None:
    built = models.model(models.graph_with_initializer(models.inside()))
    built.doc_string = models.outside().SerializeToString().decode("latin-1")
    built.graph.name = built.doc_string
    metadata_spans(built.SerializeToString(), "file")
