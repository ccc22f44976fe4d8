"""Adaptation of an external graph: names, shape, limits and batch."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from odeploy_export.graphs.action_output import AS_IT_IS, RAW_ACTION, Output
from odeploy_export.parity.check import BATCHES, run_in_batches
from odeploy_export.parity.rows import Array, Rows
from odeploy_runtime.errors import ContractError, first_line
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.signals import Signal, highs, lows

_KEEP_VALUES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_NEAR = 1e-3  # rows that depend on each other differ by more; the parity check measures exactness


@dataclass(frozen=True)
class Adapted:
    """Graph with our inputs and outputs.

    Attributes:
        model: `observation` (B, O) and perhaps `noise` (B, 1, 1, D) to `action` (B, H, A), within the limits, and
            perhaps `raw_action` (B, H, A).
        batches: batch sizes at which rows are independent.
        notes: messages for the log.
    """

    model: onnx.ModelProto
    batches: tuple[int, ...]
    notes: tuple[str, ...]


def adapt(
    model: onnx.ModelProto,
    observation: tuple[Signal, ...],
    actions: tuple[Signal, ...],
    noise_size: int,
    horizon: int,
    where: str,
    output: Output = AS_IT_IS,
    *,
    places: tuple[int, ...] | None = None,
    with_raw: bool = False,
) -> Adapted:
    """Give a graph of one output, (B, A) or (B, H, A), our inputs and outputs.

    The batch becomes dynamic if rows are then still independent; otherwise it is fixed at 1.

    Args:
        model: the graph.
        observation, actions: signals of the policy.
        noise_size: D, or 0.
        horizon: H.
        where: for messages.
        output: how its output becomes a command.
        places: place of each of its inputs in the observation; None for the same order. Shape (I,).
        with_raw: give its own output too, as `raw_action`.

    Raises:
        ContractError: a graph that cannot compute even one row.
    """
    low, high = lows(actions), highs(actions)
    ends = ends_of(model.graph) if output == AS_IT_IS else None
    unlimited = bool(np.isinf(low).all() and np.isinf(high).all())
    clipped = unlimited or (ends is not None and bool((low <= ends[0]).all() and (ends[1] <= high).all()))
    notes = () if clipped else ("limits: nodes that clip to the task's limits were appended",)
    fault = ""
    for batch, tried in (("batch", BATCHES), (1, BATCHES[:1])):
        sizes = len(observation), noise_size, horizon, len(actions)
        adapted = _assemble(model, sizes, batch, places, output, with_raw)
        if not clipped:
            _clip(adapted.graph, low, high)
        fault = _fault(adapted, tried, len(observation), noise_size, where)
        if not fault:
            kept = () if batch != 1 else ("batch: fixed at 1",)
            return Adapted(adapted, tried, notes + kept)
    raise ContractError(
        where=where,
        expected="a graph for one observation, or for any number",
        got=fault,
        remedy="export it with a first dimension that is dynamic or 1",
    )


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not weights; old files list weights as inputs."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _assemble(
    model: onnx.ModelProto,
    sizes: tuple[int, int, int, int],
    batch: str | int,
    places: tuple[int, ...] | None,
    output: Output,
    with_raw: bool,
) -> onnx.ModelProto:
    """Return the nodes under a prefix, between our inputs and outputs.

    Everything that running them does not need is stripped.
    """
    O, D, H, A = sizes  # noqa: E741
    inner = compose.add_prefix(model, "policy/").graph
    for node in inner.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in inner.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    ends = {"observation": [batch, O]} | ({"noise": [batch, 1, 1, D]} if D else {})
    entries = [
        helper.make_node("Identity", [ours], [its.name]) for ours, its in zip(ends, inputs_of(inner), strict=True)
    ]
    constants = []
    if places is not None:
        constants.append(numpy_helper.from_array(np.array(places, np.int64), "observation_places"))
        first = inputs_of(inner)[0].name
        entries[0] = helper.make_node("Gather", ["observation", constants[0].name], [first], axis=1)
    answer = inner.output[0]
    axis = numpy_helper.from_array(np.array([1]), "action_axis")
    flat = len(answer.type.tensor_type.shape.dim) == 2

    def leave(value: str, name: str) -> onnx.NodeProto:
        if flat:
            return helper.make_node("Unsqueeze", [value, axis.name], [name])
        return helper.make_node("Identity", [value], [name])

    ordering = list(output.ordering(answer.name))
    ordered = ordering[-1][0].output[0] if ordering else answer.name
    commanding = list(output.commanding(ordered))
    command = commanding[-1][0].output[0] if commanding else ordered
    nodes = [node for node, _ in (*ordering, *commanding)]
    constants += [constant for _, values in (*ordering, *commanding) for constant in values]
    left = {"action": command} | ({RAW_ACTION: ordered} if with_raw else {})
    leaves = [leave(value, name) for name, value in left.items()][::-1]  # the action last, where it is clipped
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        [*entries, *inner.node, *nodes, *leaves],
        "policy",
        [helper.make_tensor_value_info(name, float32, shape) for name, shape in ends.items()],
        [helper.make_tensor_value_info(name, float32, [batch, H, A]) for name in left],
        [*inner.initializer, *constants, *[axis] * flat],
        sparse_initializer=inner.sparse_initializer,
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, producer_name="odeploy")
    made.ir_version = helper.find_min_ir_version_for(made.opset_import)
    return made


def ends_of(graph: onnx.GraphProto) -> tuple[float, float] | None:
    """Return the limits of a clip or tanh at the end of a graph; None without one.

    Changes of shape may follow it.
    """
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in _KEEP_VALUES:
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ("Clip", "Tanh"):
        return None
    if node.op_type == "Tanh":
        return -1.0, 1.0
    given = [*node.input[1:], "", ""][:2]
    least, most = (
        _constant(graph, makers, name) if name else end for name, end in zip(given, (-np.inf, np.inf), strict=True)
    )
    return None if least is None or most is None else (least, most)


def _constant(graph: onnx.GraphProto, makers: dict[str, onnx.NodeProto], name: str) -> float | None:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    if name in makers and makers[name].op_type == "Constant":
        tensors[name] = makers[name].attribute[0].t
    return float(numpy_helper.to_array(tensors[name]).item()) if name in tensors else None


def _clip(graph: onnx.GraphProto, low: Array, high: Array) -> None:
    """Clip before the graph's last node.

    One scalar operator does it if all signals share their limits.
    """
    last = graph.node[-1]
    value, given = last.input[0], {"action_low": np.nan_to_num(low), "action_high": np.nan_to_num(high)}
    if all((limit == limit[0]).all() for limit in given.values()):
        given = {name: limit[0] for name, limit in given.items()}
        nodes = [helper.make_node("Clip", [value, *given], ["clipped"])]
    else:
        nodes = [
            helper.make_node("Max", [value, "action_low"], ["raised"]),
            helper.make_node("Min", ["raised", "action_high"], ["clipped"]),
        ]
    last.input[0] = "clipped"
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in given.items())
    for node in nodes:
        graph.node.insert(len(graph.node) - 1, node)


def _fault(
    model: onnx.ModelProto, batches: tuple[int, ...], observation_size: int, noise_size: int, where: str
) -> str:
    """Return why the rows of a batch are not independent; empty if they are."""
    rng = np.random.default_rng(0)
    observation = rng.standard_normal((max(batches), observation_size), np.float32)
    rows = Rows(observation, np.zeros((len(observation), 1, 1, noise_size), np.float32))
    try:
        onnx.checker.check_model(model, full_check=True)
        session = open_session(model.SerializeToString(), "cpu", where)
        answers: list[NDArray[np.float64]] = [run_in_batches(session, rows, batch) for batch in batches]
    except Exception as error:  # noqa: BLE001 - onnx and ONNX Runtime raise a dozen bare types
        return first_line(error)
    for batch, got in zip(batches, answers, strict=True):
        if not np.allclose(got, answers[0], rtol=_NEAR, atol=_NEAR, equal_nan=True):
            return f"other actions at batch {batch} than row by row"
    return ""
