"""Parser of the protobuf fields of an ONNX file, without the onnx package.

Two things must be known before ONNX Runtime opens a file: that no tensor points outside it (ONNX Runtime follows
such paths even when it loads from memory), and the position of the metadata values, so that a fingerprint can
cover every byte but itself. A table of the few protobuf fields that can hold a tensor is enough. Field numbers:
onnx.proto, IR version 10.
"""

from collections.abc import Iterator

from odeploy_runtime.errors import PolicyFileError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_METADATA = 14
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MAX_DEPTH = 32

# Message -> field number -> message held there; only paths that can lead to a tensor.
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}


def metadata_spans(data: bytes, where: str) -> dict[str, tuple[int, int]]:
    """Find the metadata entries of a model; check that the file is self-contained.

    Args:
        data: the whole file.
        where: its name, for messages.

    Returns:
        For each metadata key, the byte range [start, end) of its value.

    Raises:
        PolicyFileError: not a protobuf message, truncated, or with tensors stored in another file.
    """
    view = memoryview(data)
    _refuse_external_data(view, "Model", where, 0)
    spans: dict[str, tuple[int, int]] = {}
    for field, wire, start, end in fields(view, 0, len(view), where):
        if field == _MODEL_METADATA and wire == _BYTES:
            parts = {f: (s, e) for f, w, s, e in fields(view, start, end, where) if w == _BYTES}
            if 1 in parts and 2 in parts:
                key = bytes(view[slice(*parts[1])]).decode("utf-8", "replace")
                if key in spans:
                    raise _broken(where, f"the metadata key {key} twice")
                spans[key] = parts[2]
    return spans


def _refuse_external_data(view: memoryview, message: str, where: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _broken(where, f"messages nested deeper than {_MAX_DEPTH}")
    for field, wire, start, end in fields(view, 0, len(view), where):
        if message == "Tensor" and field == _TENSOR_EXTERNAL_DATA:
            raise _external(where)
        if message == "Tensor" and field == _TENSOR_DATA_LOCATION and varint(view, start, end, where)[0] != 0:
            raise _external(where)
        child = _CHILDREN[message].get(field)
        if child is not None and wire == _BYTES:
            _refuse_external_data(view[start:end], child, where, depth + 1)


def fields(view: memoryview, position: int, limit: int, where: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, end) of each field.

    Start and end bound its payload.
    """
    while position < limit:
        tag, position = varint(view, position, limit, where)
        if tag >= 1 << 32:  # protobuf drops the upper bits: it would see another field
            raise _broken(where, f"a field number beyond 29 bits at byte {position}")
        field, wire = tag >> 3, tag & 7
        start = position
        if wire == _VARINT:
            _, position = varint(view, position, limit, where)
        elif wire == _FIXED64:
            position += 8
        elif wire == _FIXED32:
            position += 4
        elif wire == _BYTES:
            length, start = varint(view, position, limit, where)
            position = start + length
        else:
            raise _broken(where, f"protobuf wire type {wire} at byte {start}")
        if field == 0 or position > limit:
            raise _broken(where, f"a field that ends at byte {position} of {limit}")
        yield field, wire, start, position


def varint(view: memoryview, position: int, limit: int, where: str) -> tuple[int, int]:
    """Return a number of seven bits per byte, and the position after it."""
    value = shift = 0
    while position < limit and shift < 64:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _broken(where, f"an unfinished number at byte {position} of {limit}")


def _broken(where: str, got: str) -> PolicyFileError:
    return PolicyFileError(
        where=where,
        expected="a whole ONNX file",
        got=got,
        remedy="copy the file again or export it again",
    )


def _external(where: str) -> PolicyFileError:
    return PolicyFileError(
        where=where,
        expected="all weights inside the file",
        got="a tensor stored in another file",
        remedy="export with odeploy, or save with external_data=False",
    )
