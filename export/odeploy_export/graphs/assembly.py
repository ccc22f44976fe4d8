"""Frame of a graph that is written node by node."""

from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto, helper

from odeploy_export.graphs.tracing import OPSET


def batched(name: str, *sizes: int) -> onnx.ValueInfoProto:
    """Return a float32 input or output with a dynamic batch. Shape (B, *sizes)."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes])


def assemble(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Iterable[onnx.TensorProto],
) -> onnx.ModelProto:
    """Return the checked model of a graph."""
    graph = helper.make_graph(nodes, "policy", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="odeploy")
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)  # older ONNX Runtimes load it too
    onnx.checker.check_model(model, full_check=True)
    return model
