"""A policy's graph as a program for inference/native.c.

It has one step per node, with arrays bound once.

All sizes are fixed here, for one row of inputs, since the C side checks nothing. An unsupported operator is
refused by its name.
"""

import ctypes
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.inference.native_graph import Graph, Node

_GEMV, _MIN, _MAX, _COPY = 0, 5, 6, 10
_BINARY = {"Add": 1, "Sub": 2, "Mul": 3, "Div": 4, "Min": _MIN, "Max": _MAX}
_UNARY = {"Tanh": 7, "Sigmoid": 8, "Elu": 9}
_WIDE, _NARROW = 64, 8  # columns of a weight's blocks

Numbers = NDArray[np.float32]


class Step(ctypes.Structure):
    """`struct step` of native.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("op", "n", "k", "unused")),
        *((name, ctypes.c_void_p) for name in ("x", "w", "b", "y")),
    ]


class Program:
    """Steps in order, with the arrays that they read and write.

    Attributes:
        steps: for `run` of native.c.
        values: array of each input and each node's output, in the shape of one row.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Translate a graph.

        Args:
            graph: graph of the file.
            inputs: shape of each input for a batch of one.
            where: the file, for messages.

        Raises:
            PolicyFileError: an unsupported operator, or an unsupported use of one.
        """
        self._where, self._constants = where, graph.constants
        self._arrays: list[Numbers] = []
        self._weights: dict[tuple[str, bool, float], Numbers] = {}
        self._steps: list[Step] = []
        self.values = {name: self._array(shape) for name, shape in inputs.items()}
        for node in graph.nodes:
            self._translate(node)
        self.steps = (Step * len(self._steps))(*self._steps)

    def _translate(self, node: Node) -> None:
        match node.operator:
            case "Gemm":
                self._gemm(node)
            case "Relu":
                x = self._value(node, 0)
                self._step(_MAX, x, self._filled(np.float32(0), x.shape), node)
            case "Clip":
                self._clip(node)
            case "Reshape":
                self._reshape(node)
            case "Slice":
                self._slice(node)
            case name if name in _UNARY and node.numbers.get("alpha", 1) == 1:
                x = self._value(node, 0)
                self._step(_UNARY[name], x, x, node)
            case name if name in _BINARY and len(node.inputs) == 2:
                self._binary(node)
            case _:
                raise self._refusal(node)

    def _gemm(self, node: Node) -> None:
        x, (alpha, beta) = self._value(node, 0), (node.numbers.get(name, 1) for name in ("alpha", "beta"))
        transposed, name = bool(node.numbers.get("transB", 0)), node.inputs[1]
        weight = self._constants.get(name)
        if weight is None or weight.ndim != 2 or node.numbers.get("transA", 0):
            raise self._refusal(node)
        W = weight.T if transposed else weight
        if x.shape != (1, len(W)):
            raise self._refusal(node)
        if (name, transposed, alpha) not in self._weights:
            self._weights[name, transposed, alpha] = self._filled(_blocks(np.float32(alpha) * W), None)
        shape = 1, W.shape[1]
        if len(node.inputs) < 3:
            bias = self._filled(np.float32(0), shape)
        elif node.inputs[2] in self._constants:
            bias = self._filled(np.float32(beta) * self._constants[node.inputs[2]], shape)
        else:
            bias = self._value(node, 2)
            if bias.shape != shape or beta != 1:
                raise self._refusal(node)
        y = self.values[node.outputs[0]] = self._array(shape)
        packed = self._weights[name, transposed, alpha]
        self._append(_GEMV, _padded(W.shape[1]), len(W), x, packed, bias, y)

    def _binary(self, node: Node) -> None:
        known = [self.values[name] for name in node.inputs if name in self.values]
        if not known or any(value.shape != known[0].shape for value in known):
            raise self._refusal(node)
        x, w = (
            self._value(node, i) if name in self.values else self._filled(self._constant(node, i), known[0].shape)
            for i, name in enumerate(node.inputs)
        )
        self._step(_BINARY[node.operator], x, w, node)

    def _clip(self, node: Node) -> None:
        x = self._value(node, 0)
        for i, op in ((1, _MAX), (2, _MIN)):
            if len(node.inputs) > i and node.inputs[i]:
                x = self._step(op, x, self._filled(self._constant(node, i), x.shape), node)
        self.values[node.outputs[0]] = x

    def _reshape(self, node: Node) -> None:
        x = self._value(node, 0)
        try:
            self.values[node.outputs[0]] = x.reshape(self._constant(node, 1).tolist())
        except ValueError:
            raise self._refusal(node) from None

    def _slice(self, node: Node) -> None:
        x = self._value(node, 0)
        start, end, axis, step = (self._constant(node, i) for i in range(1, 5))
        if x.ndim != 2 or (start.tolist(), axis.tolist(), step.tolist()) != ([0], [1], [1]) or end[0] <= 0:
            raise self._refusal(node)
        columns = min(int(end[0]), x.shape[1])
        self._step(_COPY, x, x, node, (1, columns))

    def _step(self, op: int, x: Numbers, w: Numbers, node: Node, shape: tuple[int, ...] | None = None) -> Numbers:
        y = self.values[node.outputs[0]] = self._array(x.shape if shape is None else shape)
        self._append(op, _padded(y.size), 0, x, w, w, y)
        return y

    def _append(self, op: int, n: int, k: int, x: Numbers, w: Numbers, b: Numbers, y: Numbers) -> None:
        self._steps.append(Step(op, n, k, 0, *(array.ctypes.data for array in (x, w, b, y))))

    def _value(self, node: Node, place: int) -> Numbers:
        if place >= len(node.inputs) or node.inputs[place] not in self.values:
            raise self._refusal(node)
        return self.values[node.inputs[place]]

    def _constant(self, node: Node, place: int) -> NDArray[Any]:
        if place >= len(node.inputs) or node.inputs[place] not in self._constants:
            raise self._refusal(node)
        return self._constants[node.inputs[place]]

    def _filled(self, values: Any, shape: tuple[int, ...] | None) -> Numbers:
        """Return a copy that the steps may point to; None keeps the shape."""
        array = self._array(np.shape(values) if shape is None else shape)
        array[:] = values
        return array

    def _array(self, shape: tuple[int, ...]) -> Numbers:
        """Return zeros on a 64-byte boundary with padding behind.

        They live as long as the program.
        """
        size = int(np.prod(shape))
        whole = np.zeros(_padded(size) + 16, np.float32)
        offset = -whole.ctypes.data % 64 // 4
        self._arrays.append(whole)
        return whole[offset : offset + size].reshape(shape)

    def _refusal(self, node: Node) -> PolicyFileError:
        return PolicyFileError(
            where=f"{self._where}, {node.operator} that makes {', '.join(node.outputs)}",
            expected="a graph of products with constants, elementwise operators and fixed shapes",
            got="an operator, or a use of it, that the native backend does not support",
            remedy="serve the file with ONNX Runtime",
        )


def _padded(columns: int) -> int:
    return -(-columns // _NARROW) * _NARROW


def _blocks(W: Numbers) -> Numbers:
    """Return a weight in the order in which native.c reads it.

    Shape (K, N) -> (K times N, padded).
    """
    K, N = W.shape
    padded = np.zeros((K, _padded(N)), np.float32)
    padded[:, :N] = W
    wide = padded.shape[1] // _WIDE * _WIDE
    edges = [*range(0, wide, _WIDE), *range(wide, padded.shape[1] + 1, _NARROW)]
    return np.concatenate([padded[:, a:b].ravel() for a, b in pairwise(edges)])
