"""A graph that loads but cannot run is the file's fault, in one line."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, parse, seal
from tests.unit.runtime.scaled_policy import scaled_bytes


def test_a_graph_that_needs_more_memory_than_any_machine_has_is_refused() -> None:
    model = onnx.load_from_string(scaled_bytes(0.5))
    size = np.array([10**8, 10**6], np.int64)  # 400 TB
    model.graph.initializer.append(numpy_helper.from_array(size, "size"))
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["zero"], keepdims=0),
        helper.make_node("Add", ["observation", "zero"], ["same"]),
    ]
    model.graph.node[0].input[0] = "same"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    text = next(entry.value for entry in model.metadata_props if entry.key == MANIFEST_KEY)
    helper.set_model_props(model, {MANIFEST_KEY: text, FINGERPRINT_KEY: NO_FINGERPRINT})
    file = parse(Path("huge.onnx"), seal(model.SerializeToString(), "test"))
    with pytest.raises(PolicyFileError, match=r"^huge\.onnx: expected a graph that") as raised:
        OnnxPolicy(file)
    assert "\n" not in str(raised.value)
