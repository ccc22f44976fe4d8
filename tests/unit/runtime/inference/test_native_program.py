"""Each operator of a native program against numpy in float64; unsupported ones are refused by name."""

import ctypes
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.inference.native_graph import Graph, Node
from odeploy_runtime.inference.native_library import native_library
from odeploy_runtime.inference.native_program import Program

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

Values = NDArray[Any]


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return native_library()


def answer(
    library: ctypes.CDLL, nodes: list[Node], inputs: dict[str, Values], constants: dict[str, Values]
) -> NDArray[np.float32]:
    """Return the last node's output."""
    program = Program(Graph(tuple(nodes), constants), {k: v.shape for k, v in inputs.items()}, "graph")
    for name, values in inputs.items():
        program.values[name][:] = values
    library.run(program.steps, len(program.steps))
    return program.values[nodes[-1].outputs[0]]


def node(operator: str, *inputs: str, out: str = "y", **numbers: float) -> Node:
    return Node(operator, inputs, (out,), numbers)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 140),
    st.integers(1, 140),
    st.booleans(),
    st.sampled_from([1.0, 0.1]),
    st.integers(0, 2**32 - 1),
)
def test_a_product_of_any_size_is_numpys(
    library: ctypes.CDLL, K: int, N: int, transposed: bool, alpha: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, W, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, K), (K, N), (N,)))
    stored = np.ascontiguousarray(W.T) if transposed else W
    gemm = node("Gemm", "x", "W", "b", transB=int(transposed), alpha=alpha)
    got = answer(library, [gemm], {"x": x}, {"W": stored, "b": b})
    expected = alpha * (x.astype(np.float64) @ W) + b
    np.testing.assert_allclose(got, expected, atol=1e-5 * K**0.5, rtol=0)


X = np.concatenate([np.linspace(-30, 30, 241), [-1e30, -100, -88, 88, 100, 1e30, 0]])[None].astype(np.float32)

OF_ONE: dict[str, Callable[[Values], Values]] = {
    "Tanh": np.tanh,
    "Sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "Relu": lambda x: np.maximum(x, 0),
    "Elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


@pytest.mark.parametrize("operator", list(OF_ONE))
def test_an_activation_is_numpys_to_the_last_bits(library: ctypes.CDLL, operator: str) -> None:
    got = answer(library, [node(operator, "x")], {"x": X}, {})
    np.testing.assert_allclose(got, OF_ONE[operator](X.astype(np.float64)), atol=2.5e-7, rtol=1e-7)


OF_TWO: dict[str, Callable[[Values, Values], Values]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
}


@pytest.mark.parametrize("constant", ["neither", "first", "second"])
@pytest.mark.parametrize("operator", list(OF_TWO))
def test_a_binary_operator_is_numpys(library: ctypes.CDLL, operator: str, constant: str) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.5, 2, (2, 1, 13)).astype(np.float32)
    inputs, constants = {"a": a, "b": b}, {}
    if constant != "neither":
        name = {"first": "a", "second": "b"}[constant]
        constants[name] = inputs.pop(name)
    got = answer(library, [node(operator, "a", "b")], inputs, constants)
    np.testing.assert_array_equal(got, OF_TWO[operator](a, b))


@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid", "Relu", "Elu"])
def test_an_activation_keeps_a_nan(library: ctypes.CDLL, operator: str) -> None:
    got = answer(library, [node(operator, "x")], {"x": np.full((1, 9), np.nan, np.float32)}, {})
    assert np.isnan(got).all()


def test_a_clip_has_limits_for_each_or_for_all_or_on_one_side(library: ctypes.CDLL) -> None:
    x = np.array([[-3, 0.5, 3, np.nan]], np.float32)
    low, high = np.array([-1, 0.6, -9, -1], np.float32), np.array(2, np.float32)
    got = answer(library, [node("Clip", "x", "low", "high")], {"x": x}, {"low": low, "high": high})
    np.testing.assert_array_equal(got, np.array([[-1, 0.6, 2, np.nan]], np.float32))
    got = answer(library, [node("Clip", "x", "", "high")], {"x": x}, {"high": high})
    np.testing.assert_array_equal(got, np.array([[-3, 0.5, 2, np.nan]], np.float32))


def test_slice_and_reshape_give_the_first_columns_in_another_shape(library: ctypes.CDLL) -> None:
    constants = {"0": np.array([0]), "6": np.array([6]), "1": np.array([1]), "shape": np.array([-1, 3, 2])}
    nodes = [node("Slice", "x", "0", "6", "1", "1", out="six"), node("Reshape", "six", "shape")]
    got = answer(library, nodes, {"x": np.arange(9, dtype=np.float32)[None]}, constants)
    np.testing.assert_array_equal(got, np.arange(6, dtype=np.float32).reshape(1, 3, 2))


REFUSED = {
    "an unknown operator": (node("Softplus", "x"), {}),
    "an unknown value": (node("Tanh", "z"), {}),
    "a slope of its own": (node("Elu", "x", alpha=0.5), {}),
    "a product with a value": (node("Gemm", "x", "x"), {}),
    "a weight of other rows": (node("Gemm", "x", "W"), {"W": np.zeros((7, 2), np.float32)}),
    "another row's shape": (node("Reshape", "x", "s"), {"s": np.array([2, 4])}),
    "columns from the middle": (
        node("Slice", "x", "1", "2", "1", "1"),
        {"1": np.array([1]), "2": np.array([2])},
    ),
}


@pytest.mark.parametrize("why", list(REFUSED))
def test_an_unsupported_node_is_refused_with_its_operator(why: str) -> None:
    refused, constants = REFUSED[why]
    with pytest.raises(PolicyFileError, match=rf"graph, {refused.operator} that makes y: .*ONNX Runtime"):
        Program(Graph((refused,), constants), {"x": (1, 9)}, "graph")
