"""An ONNX file as a policy: `odeploy export --from onnx MODEL.onnx`.

The file is not trusted. It must be self-contained and deterministic, with one input. The written graph must
compute what onnx's own evaluator, which shares no code with ONNX Runtime, computes for the original file: before
its opset was converted and its inputs and outputs were changed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, inliner, version_converter
from onnx.reference import ReferenceEvaluator

from odeploy_export.contract.stated import Stated, from_metadata
from odeploy_export.graphs.tracing import OPSET
from odeploy_export.parity.check import Reference
from odeploy_export.parity.rows import Array
from odeploy_export.sources.adapt import inputs_of
from odeploy_export.sources.external import LOG_STD, External
from odeploy_runtime.errors import ContractError, FormatError, first_line
from odeploy_runtime.policy_file.file import MANIFEST_KEY
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.regular_file import read_data
from odeploy_sim.tasks.task import Task

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def from_onnx(path: Path, task: Task) -> External:
    """Read and check an ONNX file.

    Raises:
        MissingError: no such file.
        PolicyFileError: an incomplete protobuf message, or weights in another file.
        FormatError: not a valid model.
        ContractError: inputs, outputs or operators that a policy file must not have.
    """
    data = read_data(path, "an ONNX file", "give the path of the model")
    where = str(path)
    if MANIFEST_KEY in metadata_spans(data, where):
        raise _refusal(where, "a bare ONNX file", "a policy file", "serve it as it is")
    original = _checked(data, where)
    _require_known_nodes(original.graph, where)
    fixed = _require_ends(original.graph, task, where)
    return External(
        model=_converted(original, where),
        references=(_reference(original, row_by_row=fixed, where=where),),
        witness="onnx's reference evaluator",
        method="onnx",
        name=f"{task.name}-{path.stem}",
        where=where,
        noise_size=0,
        provenance={
            "producer": original.producer_name,
            "opset": _opset(original),
            "source_hash": hashlib.sha256(data).hexdigest(),
            "versions": {"onnx": onnx.__version__},
        },
        squashed_by=next(
            (t.name for t in original.graph.initializer if len(t.dims) > 1 and LOG_STD.search(t.name)), None
        ),
    )


def stated_by(path: Path) -> Stated:
    """Return what the metadata of an ONNX file state about its robot.

    Raises:
        MissingError: no such file.
        FormatError: not an ONNX file.
    """
    where = str(path)
    data = read_data(path, "an ONNX file", "give the path of the model")
    metadata_spans(data, where)  # a whole message, before protobuf's own parser
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # noqa: BLE001 - protobuf raises its own
        raise _invalid(where, error) from None
    return from_metadata({entry.key: entry.value for entry in model.metadata_props}, where)


def _checked(data: bytes, where: str) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # noqa: BLE001 - protobuf, the checker and shape inference raise their own
        raise _invalid(where, error) from None


def _invalid(where: str, error: Exception) -> FormatError:
    return FormatError(
        where=where,
        expected="a valid ONNX model",
        got=first_line(error),
        remedy="export it again, with the weights inside",
    )


def _require_known_nodes(graph: onnx.GraphProto, where: str) -> None:
    for node in _all_nodes(graph):
        label = f"{where}, node {node.name or node.output[0]}"
        if node.domain not in ("", "ai.onnx"):
            raise _refusal(
                label,
                "operators of ONNX's own domain",
                f"{node.op_type} of {node.domain}",
                "export it without an optimiser for one runtime",
            )
        if node.op_type in _RANDOM:
            raise _refusal(
                label,
                "a deterministic graph, whose actions can be checked",
                f"the operator {node.op_type}",
                "export the mean action, or a torch module with noise as an input",
            )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield all nodes, including those of loops and branches."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inside in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inside)


def _require_ends(graph: onnx.GraphProto, task: Task, where: str) -> bool:
    """Check the single input and output; return whether the batch is fixed at 1."""
    inputs = inputs_of(graph)
    O = len(task.observation)  # noqa: E741
    expected = f"one float32 input (B, {O}): task {task.name} has {O} observation signals"
    remedy = "export the deterministic action of one flat observation, for the task of --task"
    if len(inputs) != 1:
        raise _refusal(where, expected, f"{len(inputs)}: {', '.join(map(_described, inputs))}", remedy)
    dims = inputs[0].type.tensor_type.shape.dim
    right = len(dims) == 2 and dims[1].dim_value in (0, O) and dims[0].dim_value in (0, 1)
    if not right or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise _refusal(f"{where}, input {inputs[0].name}", expected, _described(inputs[0]), remedy)
    expected = "one float32 output, the actions"
    if len(graph.output) != 1:
        outputs = ", ".join(map(_described, graph.output))
        raise _refusal(where, expected, f"{len(graph.output)}: {outputs}", "export the action alone")
    if graph.output[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        remedy = "export continuous actions in robot units"
        raise _refusal(f"{where}, output {graph.output[0].name}", expected, _described(graph.output[0]), remedy)
    return bool(dims[0].dim_value == 1)


def _described(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    shape = ", ".join(str(d.dim_value or d.dim_param or "?") for d in kind.shape.dim)
    return f"{value.name} {TensorProto.DataType.Name(kind.elem_type).lower()} ({shape})"


def _converted(original: onnx.ModelProto, where: str) -> onnx.ModelProto:
    if _opset(original) == OPSET:
        return original
    try:
        return version_converter.convert_version(original, OPSET)
    except Exception as error:  # noqa: BLE001 - the converter is C++ and raises bare RuntimeErrors
        raise _refusal(
            where,
            f"opset {OPSET}, or one that onnx converts to it",
            f"opset {_opset(original)} ({(str(error).strip().splitlines() or [''])[-1][:150]})",
            f"export it with opset {OPSET}",
        ) from None


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _reference(model: onnx.ModelProto, row_by_row: bool, where: str) -> Reference:
    evaluator, name = ReferenceEvaluator(model), inputs_of(model.graph)[0].name

    def act(observation: Array, noise: Array) -> NDArray[np.float64]:
        del noise
        O = observation.shape[1]  # noqa: E741
        parts = np.split(observation, len(observation)) if row_by_row else [observation]
        try:
            with np.errstate(all="ignore"):  # actions that are not finite are refused later, by their row
                answers: list[Array] = [np.asarray(*evaluator.run(None, {name: part})) for part in parts]
        except Exception as error:  # noqa: BLE001 - numpy's own, and those of missing operators
            got = first_line(error)
            expected = f"a graph that onnx's reference evaluator runs on observations ({len(parts[0])}, {O})"
            raise _refusal(where, expected, got, "give --task the task that it was trained on") from None
        return np.concatenate(answers).astype(np.float64)

    return act


def _refusal(where: str, expected: str, got: str, remedy: str) -> ContractError:
    return ContractError(where=where, expected=expected, got=got, remedy=remedy)
