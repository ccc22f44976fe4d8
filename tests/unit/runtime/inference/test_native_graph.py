"""The graph read from bytes equals the onnx package's."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.inference.native_graph import read_graph
from tests.policies import policy_bytes


@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_nodes_and_constants_are_those_that_onnx_reads(kind: str) -> None:
    data = policy_bytes("hopper", kind, width=72)
    graph, expected = read_graph(data, "policy.onnx"), onnx.load_from_string(data).graph
    assert [(n.operator, n.inputs, n.outputs) for n in graph.nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in expected.node
    ]
    for node, its in zip(graph.nodes, expected.node, strict=True):
        assert node.numbers == {a.name: helper.get_attribute_value(a) for a in its.attribute}
    assert list(graph.constants) == [tensor.name for tensor in expected.initializer]
    for tensor in expected.initializer:
        np.testing.assert_array_equal(graph.constants[tensor.name], numpy_helper.to_array(tensor))


@pytest.mark.parametrize(
    "tensor",
    [
        helper.make_tensor("w", TensorProto.DOUBLE, [2], np.ones(2).tobytes(), raw=True),
        helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("w", TensorProto.FLOAT, [2], np.ones(2, np.float32).tobytes(), raw=True),
    ],
    ids=["another type", "not raw", "too few"],
)
def test_a_constant_in_another_encoding_is_refused_by_name(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT and tensor.raw_data:
        tensor.dims[0] = 3
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(PolicyFileError, match=r"policy.onnx, constant w: expected raw float32 or int64"):
        read_graph(model.SerializeToString(), "policy.onnx")
