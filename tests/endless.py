"""Policy files whose graph does not end: always, or for certain observations."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.policy_file.file import parse
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.policies import policy_bytes

ENDLESS = 10**12
"""Iterations: hours."""
TRIGGER = 50.0
"""Value of the first observation signal above which the second kind of file does not end."""


def endless_path(folder: Path, always: bool = True) -> Path:
    """Write a policy file for the maze whose graph does not end, always or above `TRIGGER`."""
    data = policy_bytes(MAZE_MEDIUM.name)
    model, path = onnx.load_from_string(data), folder / f"endless-{always}.onnx"
    manifest = parse(path, data).manifest
    del model.metadata_props[:]
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["computed" if name == "action" else name for name in node.output]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, None),
        ],
        [value("on", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, None)],
    )
    constants: dict[str, tuple[int, list[int], list[float]]] = {
        "endless_above": (TensorProto.FLOAT, [], [-1e9 if always else TRIGGER]),
        "endless_many": (TensorProto.INT64, [], [ENDLESS]),
        "endless_one": (TensorProto.INT64, [], [1]),
        "endless_go": (TensorProto.BOOL, [], [True]),
        "endless_shape": (TensorProto.INT64, [1], [-1]),
        "endless_first": (TensorProto.INT64, [], [0]),
    }
    graph.initializer.extend(helper.make_tensor(name, *tensor) for name, tensor in constants.items())
    graph.node.extend(
        [
            helper.make_node("Reshape", ["observation", "endless_shape"], ["flat"]),
            helper.make_node("Gather", ["flat", "endless_first"], ["first"]),
            helper.make_node("Greater", ["first", "endless_above"], ["triggered"]),
            helper.make_node("Where", ["triggered", "endless_many", "endless_one"], ["trips"]),
            helper.make_node("Loop", ["trips", "endless_go", "computed"], ["action"], body=body),
        ]
    )
    path.write_bytes(to_bytes(model, manifest))
    return path
