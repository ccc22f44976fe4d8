"""Nodes and constants of an ONNX file's graph, read without the onnx package.

For the native backend, which runs the graph itself. It reads only what odeploy's exporter writes: constants as
raw float32 or int64, and numeric attributes. Field numbers: onnx.proto, IR version 10.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.policy_file.protobuf import fields, varint

_GRAPH = 7
_NODES, _CONSTANTS = 1, 5
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _FLOAT, _INT = 1, 2, 3
_DIMS, _DTYPE, _TENSOR_NAME, _RAW = 1, 2, 8, 9
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 7: np.dtype("<i8")}


@dataclass(frozen=True)
class Node:
    """One operator: its ONNX name, and the names of its inputs and outputs."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, float]


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, and constants by name."""

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]


def read_graph(data: bytes, where: str) -> Graph:
    """Read the graph of a file that `policy_file.file.parse` has accepted.

    Raises:
        PolicyFileError: a damaged file, or a constant in another encoding than the exporter's.
    """
    nodes, constants = [], {}
    for graph in (part for field, part in _parts(memoryview(data), where) if field == _GRAPH):
        for field, part in _parts(graph, where):
            if field == _NODES:
                nodes.append(_node(part, where))
            elif field == _CONSTANTS:
                name, values = _constant(part, where)
                constants[name] = values
    return Graph(tuple(nodes), constants)


def _parts(view: memoryview, where: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, payload) of each field of a message."""
    for field, _, start, end in fields(view, 0, len(view), where):
        yield field, view[start:end]


def _node(view: memoryview, where: str) -> Node:
    operator = ""
    inputs, outputs = [], []
    numbers: dict[str, float] = {}
    for field, part in _parts(view, where):
        if field == _INPUT:
            inputs.append(_text(part))
        elif field == _OUTPUT:
            outputs.append(_text(part))
        elif field == _OPERATOR:
            operator = _text(part)
        elif field == _ATTRIBUTE:
            numbers |= _number(part, where)
    return Node(operator, tuple(inputs), tuple(outputs), numbers)


def _number(view: memoryview, where: str) -> dict[str, float]:
    """Return a numeric attribute by its name; others are not needed."""
    name, value = "", None
    for field, part in _parts(view, where):
        if field == _ATTRIBUTE_NAME:
            name = _text(part)
        elif field == _FLOAT and len(part) == 4:
            value = struct.unpack("<f", part)[0]
        elif field == _INT:
            value = varint(part, 0, len(part), where)[0]
    return {} if value is None else {name: value}


def _constant(view: memoryview, where: str) -> tuple[str, NDArray[Any]]:
    dims: list[int] = []
    dtype, name, raw = 0, "", None
    for field, part in _parts(view, where):
        if field == _DIMS:
            dims.append(varint(part, 0, len(part), where)[0])
        elif field == _DTYPE:
            dtype = varint(part, 0, len(part), where)[0]
        elif field == _TENSOR_NAME:
            name = _text(part)
        elif field == _RAW:
            raw = part
    if (
        raw is None
        or dtype not in _DTYPES
        or len(raw) != int(np.prod(dims, dtype=object)) * _DTYPES[dtype].itemsize
    ):
        raise PolicyFileError(
            where=f"{where}, constant {name}",
            expected="raw float32 or int64 numbers of its shape",
            got=f"type {dtype}, shape {dims}, {0 if raw is None else len(raw)} raw bytes",
            remedy="export the policy again, or serve it with ONNX Runtime",
        )
    return name, np.frombuffer(raw, _DTYPES[dtype]).reshape(dims)


def _text(view: memoryview) -> str:
    return bytes(view).decode("utf-8", "replace")
