"""Rewrites of a finished graph: names of outputs, narrow Gemms, precision."""

import contextlib
import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper

Precision = Literal["f32", "fp16"]
_NARROW = 32
_IN_FLOAT32 = ["Clip"]  # a limit rounded to fp16 is another limit


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Rename the outputs and all their uses in place.

    The exporter names them after its own nodes.

    Raises:
        ValueError: the number of outputs differs.
    """
    graph = model.graph
    new = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for node in graph.node:
        for values in (node.input, node.output):
            for i, value in enumerate(values):
                values[i] = new.get(value, value)
    for output in graph.output:
        output.name = new[output.name]


def narrow_gemms(model: onnx.ModelProto) -> None:
    """Rewrite Gemms with few columns in place for ONNX Runtime's vector kernel.

    Results change by rounding only. A flow's last layer has two to twenty columns and, as the solver's update, an
    alpha. With one row, ONNX Runtime uses its matrix-vector kernel only if alpha is 1, and for a narrow weight
    only if it is stored by columns. Otherwise it repacks the weight in every call, which takes longer than the
    product. So alpha is folded into the weight, one small copy for each distinct alpha, and the weight is
    transposed. Measured in docs/decisions.md.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    written: set[str] = set()
    for node in graph.node:
        if node.op_type != "Gemm" or node.input[1] not in weights:
            continue
        options = {a.name: a for a in node.attribute}
        weight = numpy_helper.to_array(weights[node.input[1]])
        if weight.shape[1] > _NARROW or "transB" not in options or options["transB"].i == 1:
            continue
        alpha = options["alpha"].f if "alpha" in options else 1.0
        name = f"{node.input[1]}.times_{alpha:.9g}"
        if name not in written:
            columns = np.ascontiguousarray((weight.astype(np.float64) * alpha).T.astype(np.float32))
            graph.initializer.append(numpy_helper.from_array(columns, name))
            written.add(name)
        node.input[1] = name
        options["transB"].i, options["alpha"].f = 1, 1.0
    _drop_unused(graph)


def in_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return the graph with its weights and products in a precision.

    Inputs and outputs stay float32.

    fp16 is for GPUs: on a CPU ONNX Runtime computes most of these operators by casting, so the file is less exact
    and no faster.
    """
    if precision == "f32":
        return model
    # The converter's package prints advice about tools that have nothing to do with it.
    with contextlib.redirect_stdout(io.StringIO()):
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    half = onnx.ModelProto()
    half.CopyFrom(model)  # the converter changes what it is given
    half.CopyFrom(convert_float_to_float16(half, keep_io_types=True, op_block_list=_IN_FLOAT32))
    OnnxModel(half).topological_sort()  # it leaves the inputs' casts at the end
    del half.graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)
    return half


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
