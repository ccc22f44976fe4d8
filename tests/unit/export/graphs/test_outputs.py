"""Outputs get their names, and so do those who use them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from odeploy_export.graphs.outputs import name_outputs


def model() -> onnx.ModelProto:
    """y = x + x is an output, and z = y · x another."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["y", "x"], ["z"])]
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xyz")
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [z, y]), opset_imports=[helper.make_opsetid("", 18)]
    )


def test_outputs_are_renamed_in_order_with_all_their_uses() -> None:
    renamed = model()
    name_outputs(renamed, ("product", "sum"))
    onnx.checker.check_model(renamed, full_check=True)
    got = ReferenceEvaluator(renamed).run(["sum", "product"], {"x": np.array([1, 3], np.float32)})
    assert [list(values) for values in got] == [[2, 6], [2, 18]]


def test_another_number_of_outputs_is_a_defect() -> None:
    with pytest.raises(ValueError, match="zip"):
        name_outputs(model(), ("action",))
