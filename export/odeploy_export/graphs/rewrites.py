"""Rewrites Gemms with few outputs into the form for which ONNX Runtime has a vector kernel.

A flow's last layer has two to twenty columns and, as the solver's update, an alpha. With one row, ONNX
Runtime takes its matrix-vector kernel only if alpha is 1, and for a narrow weight only if it is stored by
columns; otherwise it repacks the weight in every call, for more time than the product takes. So alpha joins
the weight, one small copy for each distinct alpha, and the weight is transposed. Measured in
docs/decisions.md.
"""

import numpy as np
import onnx
from onnx import numpy_helper

_NARROW = 32


def narrow_gemms(model: onnx.ModelProto) -> None:
    """Changes `model` in place; results change by rounding only."""
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


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
