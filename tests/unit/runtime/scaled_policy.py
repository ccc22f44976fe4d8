"""Small policy files that return the first two observations, scaled, and one that never returns."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, seal
from odeploy_runtime.policy_file.manifest import GoldenRow, Noise
from odeploy_runtime.typed_json import to_json
from tests.unit.runtime.fakes import manifest
from tests.unit.runtime.models import model

OBSERVATION = (0.25, -0.5, 3.0)


def scaled_bytes(scale: float, recorded: float | None = None, **changes: Any) -> bytes:
    """Return a sealed file with action = scale · (x, y).

    Args:
        scale: the graph's scale.
        recorded: the golden row's scale; another one than the graph's makes an invalid file.
        changes: fields of the manifest.
    """
    weight = np.array([[scale, 0], [0, scale], [0, 0]], np.float32)
    nodes = [
        helper.make_node("MatMul", ["observation", "w"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ("batch", 3))],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ("batch", 1, 2))],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    return _sealed(graph, scale, recorded, changes)


def endless_bytes() -> bytes:
    """Return a sealed file whose graph, a loop of 10¹² turns, takes hours."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("MatMul", ["observation", "w"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["first"]),
        helper.make_node("Loop", ["turns", "go", "first"], ["action"], body=body),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": np.zeros((3, 2), np.float32),
        "axis": np.array([1], np.int64),
        "turns": np.array(10**12, np.int64),
        "go": np.array(True),
    }
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ("batch", 3))],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ("batch", 1, 2))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _sealed(graph, 0.0, None, {"name": "endless"})


def _sealed(graph: onnx.GraphProto, scale: float, recorded: float | None, changes: dict[str, Any]) -> bytes:
    action = tuple(float(np.float32(scale if recorded is None else recorded) * value) for value in OBSERVATION[:2])
    fields: dict[str, Any] = {
        "name": f"scale-{scale:g}",
        "kind": "mlp",
        "noise": Noise("none"),
        "sampler": None,
        "golden": (GoldenRow(OBSERVATION, (), action),),
    }
    text = to_json(manifest(**(fields | changes)))
    entries = {MANIFEST_KEY: text, FINGERPRINT_KEY: NO_FINGERPRINT}
    return seal(model(graph, **entries).SerializeToString(), "test")
