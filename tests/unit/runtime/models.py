"""Small ONNX models and policy files, made with the onnx package, which the runtime does not use."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, seal
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.typed_json import to_json
from tests.unit.runtime.fakes import manifest


def inside(name: str = "w") -> onnx.TensorProto:
    """Return a tensor with its data inside."""
    return numpy_helper.from_array(np.array([1.0, 2.0], np.float32), name)


def outside(name: str = "w") -> onnx.TensorProto:
    """Return a tensor with its data in another file."""
    tensor = TensorProto(name=name, dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../weights.bin"
    return tensor


def value(name: str, kind: int = TensorProto.FLOAT, shape: tuple[int, ...] = (2,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def body(tensor: onnx.TensorProto, output: str) -> onnx.GraphProto:
    """Return a subgraph that yields one tensor."""
    return helper.make_graph([], "body", [], [value(output)], [tensor])


def graph_with_initializer(tensor: onnx.TensorProto) -> onnx.GraphProto:
    node = helper.make_node("Add", ["x", tensor.name], ["y"])
    return helper.make_graph([node], "policy", [value("x")], [value("y")], [tensor])


def graph_with_constant(tensor: onnx.TensorProto) -> onnx.GraphProto:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    return helper.make_graph([node], "policy", [], [value("y")])


def graph_with_if(tensor: onnx.TensorProto) -> onnx.GraphProto:
    node = helper.make_node("If", ["c"], ["y"], then_branch=body(inside("a"), "a"), else_branch=body(tensor, "w"))
    return helper.make_graph([node], "policy", [value("c", TensorProto.BOOL, ())], [value("y")])


def graph_with_loop(tensor: onnx.TensorProto) -> onnx.GraphProto:
    """Return an If inside a Loop's body, with the tensor two subgraphs deep."""
    inner = graph_with_if(tensor)
    loop_body = helper.make_graph(
        inner.node,
        "loop",
        [value("i", TensorProto.INT64, ()), value("c", TensorProto.BOOL, ())],
        [value("c", TensorProto.BOOL, ()), value("y")],
    )
    node = helper.make_node("Loop", ["n", ""], ["all"], body=loop_body)
    return helper.make_graph([node], "policy", [value("n", TensorProto.INT64, ())], [value("all", shape=(1, 2))])


def graph_with_sparse(tensor: onnx.TensorProto) -> onnx.GraphProto:
    indices = numpy_helper.from_array(np.array([0, 3], np.int64), "indices")
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "policy", [], [value("y", shape=(4,))])
    graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [4]))
    return graph


def model(graph: onnx.GraphProto, **metadata: str) -> onnx.ModelProto:
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    built.ir_version = 10
    if metadata:
        helper.set_model_props(built, metadata)
    return built


def policy_bytes(described: Manifest | None = None, **metadata: str) -> bytes:
    """Return a small policy file; more metadata go between the manifest and the fingerprint."""
    text = to_json(manifest() if described is None else described)
    entries: dict[str, Any] = {MANIFEST_KEY: text} | metadata | {FINGERPRINT_KEY: NO_FINGERPRINT}
    return seal(model(graph_with_initializer(inside()), **entries).SerializeToString(), "test")
