"""An ONNX file as a policy: `odeploy export --from onnx MODEL.onnx`.

The file is not trusted. It must be deterministic; weights may lie in a file beside it. The written graph must
compute what onnx's own evaluator, which shares no code with ONNX Runtime, computes for the original file: before
its opset was converted and its inputs and outputs were changed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import inliner, version_converter
from onnx.reference import ReferenceEvaluator

from odeploy_export.contract.stated import Stated, from_metadata
from odeploy_export.graphs.tracing import OPSET
from odeploy_export.parity.check import Reference
from odeploy_export.parity.rows import Array
from odeploy_export.sources.external import LOG_STD, External
from odeploy_export.sources.onnx_ends import EndNames, Ends, dtype_of, ends_in, pruned, require_named, unified
from odeploy_export.sources.onnx_file import invalid, read_model
from odeploy_runtime.errors import ContractError, first_line
from odeploy_sim.tasks.task import Task

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def from_onnx(path: Path, task: Task, names: EndNames = EndNames()) -> External:
    """Read and check an ONNX file.

    Raises:
        MissingError: no such file.
        FormatError: not a valid model.
        UsageError: several inputs or outputs, and no option that chooses.
        ContractError: inputs, outputs or operators that a policy file must not have.
    """
    where = str(path)
    read, data = read_model(path)
    whole = _checked(read, where)
    ends = ends_in(whole.graph, task, names, where)
    original = pruned(whole, ends)
    _require_known_nodes(original.graph, where)
    layers = [t.name for t in whole.graph.initializer if len(t.dims) > 1]
    others = [value.name for value in whole.graph.output]
    return External(
        model=unified(_converted(original, where), ends),
        references=(_reference(original, ends, where),),
        witness="onnx's reference evaluator",
        method="onnx",
        name=f"{task.name}-{path.stem}",
        where=where,
        noise_size=ends.noise_size,
        provenance={
            "producer": original.producer_name,
            "opset": _opset(original),
            "source_hash": hashlib.sha256(data).hexdigest(),
            "versions": {"onnx": onnx.__version__},
            **({"output": ends.action.name} if len(others) > 1 else {}),
        },
        squashed_by=next((name for name in (*layers, *others) if LOG_STD.search(name)), None),
    )


def stated_by(path: Path, names: EndNames = EndNames()) -> Stated:
    """Return what the metadata of an ONNX file state about its robot.

    Raises as `read_model` and `require_named`.
    """
    model, _ = read_model(path)
    require_named(model.graph, names, str(path), "one input, the observation")
    return from_metadata({entry.key: entry.value for entry in model.metadata_props}, str(path))


def _checked(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(model, full_check=True)
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # noqa: BLE001 - the checker and shape inference raise their own
        raise invalid(where, error) from None


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


def _converted(original: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return the graph in our opset; a newer one that does not convert stays."""
    if _opset(original) == OPSET:
        return original
    try:
        return version_converter.convert_version(original, OPSET)
    except Exception as error:  # noqa: BLE001 - the converter is C++ and raises bare RuntimeErrors
        if _opset(original) > OPSET:
            return original
        raise _refusal(
            where,
            f"opset {OPSET}, or one that onnx converts to it",
            f"opset {_opset(original)} ({(str(error).strip().splitlines() or [''])[-1][:150]})",
            f"export it with opset {OPSET}",
        ) from None


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _reference(model: onnx.ModelProto, ends: Ends, where: str) -> Reference:
    """Return onnx's own evaluator as a function of observation and noise.

    It goes row by row if the batch is fixed."""
    evaluator = ReferenceEvaluator(model)
    splits = np.cumsum(ends.sizes)[:-1].tolist()

    def act(observation: Array, noise: Array) -> NDArray[np.float64]:
        rows = len(observation)
        starts = range(rows) if ends.fixed else (0,)
        answers = list[Array]()
        for start in starts:
            part = slice(start, start + 1 if ends.fixed else rows)
            values = np.split(observation[part], splits, axis=1)
            named = {e.name: np.asarray(v, dtype_of(e)) for e, v in zip(ends.parts, values, strict=True)}
            if ends.noise is not None:
                draws = noise[part].reshape(-1, *ends.noise_shape)
                named[ends.noise.name] = np.asarray(draws, dtype_of(ends.noise))
            answers.append(_evaluated(evaluator, named, where))
        return np.concatenate(answers).astype(np.float64)

    return act


def _evaluated(evaluator: ReferenceEvaluator, feed: dict[str, NDArray[np.floating]], where: str) -> Array:
    try:
        with np.errstate(all="ignore"):  # actions that are not finite are refused later, by their row
            answer: Array = np.asarray(*evaluator.run(None, feed))
            return answer
    except Exception as error:  # noqa: BLE001 - numpy's own, and those of missing operators
        shapes = ", ".join(f"{name} {values.shape}" for name, values in feed.items())
        expected = f"a graph that onnx's reference evaluator runs on {shapes}"
        raise _refusal(where, expected, first_line(error), "give --task the task that it was trained on") from None


def _refusal(where: str, expected: str, got: str, remedy: str) -> ContractError:
    return ContractError(where=where, expected=expected, got=got, remedy=remedy)
