"""Inputs and outputs of another library's graph: observation, noise, action."""

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from odeploy_export.sources.adapt import inputs_of
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.tasks.task import Task

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


@dataclass(frozen=True)
class EndNames:
    """Names of inputs and outputs that the user gave.

    Attributes:
        inputs: parts of the observation, in order; None for the only input.
        noise: the input of noise; None without one.
        output: the actions; None for the only output of the action's size.
    """

    inputs: tuple[str, ...] | None = None
    noise: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Ends:
    """Inputs and output of a graph as a policy.

    Attributes:
        parts: inputs that the observation is split into, in order.
        sizes: numbers of each part; they sum to O.
        noise: the input of noise; None without one.
        noise_shape: its shape without the batch; empty without noise.
        action: the output.
        fixed: whether the batch is fixed at 1.
    """

    parts: tuple[onnx.ValueInfoProto, ...]
    sizes: tuple[int, ...]
    noise: onnx.ValueInfoProto | None
    noise_shape: tuple[int, ...]
    action: onnx.ValueInfoProto
    fixed: bool

    @property
    def noise_size(self) -> int:
        """D, or 0."""
        return math.prod(self.noise_shape) if self.noise is not None else 0

    @property
    def plain(self) -> bool:
        """Whether it is one float32 observation and one float32 output."""
        return (
            len(self.parts) == 1
            and self.noise is None
            and all(_kind(v) == TensorProto.FLOAT for v in (*self.parts, self.action))
        )


def ends_in(graph: onnx.GraphProto, task: Task, names: EndNames, where: str) -> Ends:
    """Find the ends of a policy in a graph.

    Raises:
        UsageError: several inputs or outputs, and no option that chooses.
        ContractError: ends that a policy cannot have; the message names them.
    """
    inputs, O = {value.name: value for value in inputs_of(graph)}, len(task.observation)  # noqa: E741
    given = (*(names.inputs or ()), *([names.noise] if names.noise else []))
    unknown = next((name for name in given if name not in inputs), None)
    if unknown is not None:
        raise UsageError(
            where=f"--{'noise-input' if unknown == names.noise else 'inputs'} {unknown}",
            expected=f"one of {', '.join(inputs)}",
            got="none of that name",
            remedy="correct the name",
        )
    noise = inputs.get(names.noise or "")
    parts = tuple(inputs[n] for n in names.inputs or [n for n in inputs if n != names.noise])
    expected = f"one float32 input (B, {O}): task {task.name} has {O} observation signals"
    require_named(graph, names, where, expected)
    sizes = tuple(_size(value, O if len(parts) == 1 else 0) for value in parts)
    for value, size in zip(parts, sizes, strict=True):
        dims = value.type.tensor_type.shape.dim
        if len(dims) != 2 or dims[0].dim_value not in (0, 1) or _kind(value) not in _FLOATS or not size:
            raise _wrong(f"{where}, input {value.name}", expected, value)
    if sum(sizes) != O:
        raise _wrong(f"{where}, input {parts[0].name}", expected, *parts)
    shape = () if noise is None else tuple(d.dim_value for d in noise.type.tensor_type.shape.dim)[1:]
    if noise is not None and (not shape or not all(shape) or _kind(noise) not in _FLOATS):
        raise _wrong(f"{where}, input {noise.name}", "noise (B, D) of known size", noise)
    fixed = any(value.type.tensor_type.shape.dim[0].dim_value == 1 for value in parts)
    return Ends(parts, sizes, noise, shape, _action(graph, task, names.output, where), fixed)


def require_named(graph: onnx.GraphProto, names: EndNames, where: str, expected: str) -> None:
    """Require that every input is the observation, a named part of it, or noise.

    Raises:
        ContractError: another input; the message names it and the outputs.
    """
    inputs = {value.name: value for value in inputs_of(graph)}
    others = [name for name in inputs if name != names.noise and name not in (names.inputs or ())]
    if len(others) > (0 if names.inputs else 1) or len(inputs) == (names.noise in inputs):
        beside = ", ".join(value.name for value in graph.output)
        raise ContractError(
            where=where,
            expected=expected,
            got=f"{len(inputs)}: {', '.join(map(described, inputs.values()))}, and the outputs {beside}",
            remedy="name the parts of the observation with --inputs and noise with --noise-input; a graph with a "
            "clock or a motion of its own is no policy of observations",
        )


def pruned(model: onnx.ModelProto, ends: Ends) -> onnx.ModelProto:
    """Return the part of a graph that computes its action."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    wanted, nodes = {ends.action.name}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted |= set(node.input) | _captured(node)
    kept = nodes[::-1]
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    for field, values in (("node", kept), ("initializer", weights), ("output", [ends.action])):
        copies = [type(v).FromString(v.SerializeToString()) for v in values]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copies)
    del graph.value_info[:]
    return made


def unified(model: onnx.ModelProto, ends: Ends) -> onnx.ModelProto:
    """Return a graph with one float32 observation, one noise and a float32 action.

    Shapes (B, O), (B, 1, 1, D)."""
    if ends.plain:
        return model
    made, batch = onnx.ModelProto(), 1 if ends.fixed else "batch"
    made.CopyFrom(model)
    graph, before, constants = made.graph, [], []

    def entering(value: str, end: onnx.ValueInfoProto) -> onnx.NodeProto:
        if _kind(end) == TensorProto.DOUBLE:
            return helper.make_node("Cast", [value], [end.name], to=TensorProto.DOUBLE)
        return helper.make_node("Identity", [value], [end.name])

    names = [f"odeploy_part_{i}" for i in range(len(ends.parts))]
    if len(names) > 1:
        constants.append(numpy_helper.from_array(np.array(ends.sizes, np.int64), "odeploy_sizes"))
        before.append(helper.make_node("Split", ["observation", "odeploy_sizes"], names, axis=1))
    else:
        names = ["observation"]
    before += [entering(name, end) for name, end in zip(names, ends.parts, strict=True)]
    inputs = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, [batch, sum(ends.sizes)])]
    if ends.noise is not None:
        lead = 1 if ends.fixed else -1
        constants.append(numpy_helper.from_array(np.array([lead, *ends.noise_shape], np.int64), "odeploy_shape"))
        before.append(helper.make_node("Reshape", ["noise", "odeploy_shape"], ["odeploy_noise"]))
        before.append(entering("odeploy_noise", ends.noise))
        inputs.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, [batch, 1, 1, ends.noise_size]))
    after = []
    if _kind(ends.action) == TensorProto.DOUBLE:
        after.append(helper.make_node("Cast", [ends.action.name], ["odeploy_action"], to=TensorProto.FLOAT))
        shape = [d.dim_value or d.dim_param or None for d in ends.action.type.tensor_type.shape.dim]
        outputs = [helper.make_tensor_value_info("odeploy_action", TensorProto.FLOAT, shape)]
    else:
        outputs = [onnx.ValueInfoProto.FromString(graph.output[0].SerializeToString())]
    nodes = [*before, *graph.node, *after]
    body = helper.make_graph(nodes, graph.name or "g", inputs, outputs, [*graph.initializer, *constants])
    body.sparse_initializer.extend(graph.sparse_initializer)
    graph.CopyFrom(body)
    return made


def described(value: onnx.ValueInfoProto) -> str:
    """Return name, type and shape, for messages."""
    shape = ", ".join(str(d.dim_value or d.dim_param or "?") for d in value.type.tensor_type.shape.dim)
    return f"{value.name} {TensorProto.DataType.Name(_kind(value)).lower()} ({shape})"


def dtype_of(value: onnx.ValueInfoProto) -> np.dtype[np.floating]:
    """Return numpy's type of a floating-point input."""
    return np.dtype(np.float64 if _kind(value) == TensorProto.DOUBLE else np.float32)


def _action(graph: onnx.GraphProto, task: Task, name: str | None, where: str) -> onnx.ValueInfoProto:
    A, outputs = len(task.action), list(graph.output)
    listed = f"{len(outputs)}: {', '.join(map(described, outputs))}"
    if name is not None:
        found = [value for value in outputs if value.name == name]
    else:
        fits = [v for v in outputs if _kind(v) in _FLOATS and _last(v) in (0, A)]
        found = outputs if len(outputs) == 1 else fits
    if len(found) != 1:
        raise UsageError(
            where=where if name is None else f"--output {name}",
            expected=f"--output NAME, the actions of the {A} signals of {task.name}",
            got=listed,
            remedy="name the output of the deterministic action",
        )
    if _kind(found[0]) not in _FLOATS:
        raise ContractError(
            where=f"{where}, output {found[0].name}",
            expected="one float32 output, the actions",
            got=described(found[0]),
            remedy="export continuous actions in robot units",
        )
    chosen: onnx.ValueInfoProto = found[0]
    return chosen


def _captured(node: onnx.NodeProto) -> set[str]:
    """Return the names that the loops and branches of a node may take from outside."""
    names: set[str] = set()
    for attribute in node.attribute:
        for inside in (attribute.g, *attribute.graphs):
            for each in inside.node:
                names |= set(each.input) | _captured(each)
            names |= {value.name for value in inside.output}
    return names


def _kind(value: onnx.ValueInfoProto) -> int:
    return value.type.tensor_type.elem_type


def _last(value: onnx.ValueInfoProto) -> int:
    dims = value.type.tensor_type.shape.dim
    return dims[-1].dim_value if dims else -1


def _size(value: onnx.ValueInfoProto, unknown: int) -> int:
    return _last(value) or unknown


def _wrong(where: str, expected: str, *values: onnx.ValueInfoProto) -> ContractError:
    remedy = "export the deterministic action of one flat observation, for the task of --task"
    return ContractError(where=where, expected=expected, got=", ".join(map(described, values)), remedy=remedy)
