"""A recurrent policy as a graph, with its state as an input and an output.

`observation` (B, O), `state_in` (B, S) → `action` (B, 1, A), `state_out` (B, S). The normaliser is folded into
the input's weights. Reset and update gate share a pair of Gemms; the second has the first as its bias. ONNX's
own GRU operator takes 7 to 10 % longer for one row (docs/decisions.md).
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from odeploy_export.graphs.assembly import assemble, batched
from odeploy_train.policies.recurrent import RecurrentPolicy

STATE_IN, STATE_OUT = "state_in", "state_out"
Weights = dict[str, NDArray[np.float32] | NDArray[np.int64]]


def recurrent_graph(policy: RecurrentPolicy) -> onnx.ModelProto:
    """Return the checked graph of a policy in float32."""
    O, A, S = policy.config.observation_size, policy.config.action_size, policy.config.state_size  # noqa: E741
    nodes, weights = _cell(policy)
    head, head_weights = _head(policy)
    return assemble(
        [*nodes, *head],
        [batched("observation", O), batched(STATE_IN, S)],
        [batched("action", 1, A), batched(STATE_OUT, S)],
        [numpy_helper.from_array(array, name) for name, array in (weights | head_weights).items()],
    )


def _cell(policy: RecurrentPolicy) -> tuple[list[onnx.NodeProto], Weights]:
    """Build the GRU cell, with the letters of policies/recurrent.py.

    Torch stores r, z, n stacked.
    """
    S = policy.config.state_size
    W, U, b, c = (
        _double(values) for values in policy.gru.parameters()
    )  # input and state weights, then their biases
    W = W / _double(policy.observation_std)
    b = b - W @ _double(policy.observation_mean)
    gates, candidate = slice(0, 2 * S), slice(2 * S, 3 * S)
    weights: Weights = {
        "gates.input": _single(W[gates].T),
        "gates.bias": _single(b[gates] + c[gates]),
        "gates.state": _single(U[gates].T),
        "candidate.input": _single(W[candidate].T),
        "candidate.input_bias": _single(b[candidate]),
        "candidate.state": _single(U[candidate].T),
        "candidate.state_bias": _single(c[candidate]),
        "sizes": np.array([S, S], np.int64),
    }
    nodes = [
        helper.make_node("Gemm", ["observation", "gates.input", "gates.bias"], ["from_input"]),
        helper.make_node("Gemm", [STATE_IN, "gates.state", "from_input"], ["both"]),
        helper.make_node("Sigmoid", ["both"], ["gates"]),
        helper.make_node("Split", ["gates", "sizes"], ["r", "z"], axis=1),
        helper.make_node("Gemm", [STATE_IN, "candidate.state", "candidate.state_bias"], ["recalled"]),
        helper.make_node("Mul", ["r", "recalled"], ["let_through"]),
        helper.make_node("Gemm", ["observation", "candidate.input", "candidate.input_bias"], ["seen"]),
        helper.make_node("Add", ["seen", "let_through"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["n"]),
        helper.make_node("Sub", [STATE_IN, "n"], ["difference"]),
        helper.make_node("Mul", ["z", "difference"], ["kept"]),
        helper.make_node("Add", ["n", "kept"], [STATE_OUT]),
    ]
    return nodes, weights


def _head(policy: RecurrentPolicy) -> tuple[list[onnx.NodeProto], Weights]:
    """Build the head, from state to action.

    Limits other than [-1, 1] come last, since rounding may exceed them.
    """
    low, high = _double(policy.low), _double(policy.high)
    # By rows: a narrow weight by columns leaves ONNX Runtime's vector kernel (graphs/rewrites.py).
    weights: Weights = {
        "action.weight": _single(_double(policy.last.weight)),
        "action.bias": _single(_double(policy.last.bias)),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gemm", [STATE_OUT, "action.weight", "action.bias"], ["answer"], transB=1),
        helper.make_node("Tanh", ["answer"], ["unit"]),
    ]
    last = "unit"
    if not ((low == -1).all() and (high == 1).all()):
        middle, half_range = (high + low) / 2, (high - low) / 2
        for operator, name, values in (
            ("Mul", "half_range", half_range),
            ("Add", "middle", middle),
            ("Max", "low", low),
            ("Min", "high", high),
        ):
            weights[name] = _single(values)
            nodes.append(helper.make_node(operator, [last, name], [f"within_{name}"]))
            last = f"within_{name}"
    nodes.append(helper.make_node("Unsqueeze", [last, "axis"], ["action"]))
    return nodes, weights


def _double(values: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.detach().double().numpy()
    return array


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
