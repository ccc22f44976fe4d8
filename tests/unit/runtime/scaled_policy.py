"""Small policy files that return the first two observations, scaled."""

from typing import Any

import numpy as np
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
