"""A robot's leg of three joints, and small networks of other libraries for it, joints in another order."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from odeploy_export.cli.external import ExternalOptions, external_source
from odeploy_export.pipeline import export_policy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task

JOINTS = ("hip_joint", "knee_joint", "ankle_joint")
POSE = {"hip_joint": 0.1, "knee_joint": 0.7, "ankle_joint": -0.4}
ITS_JOINTS = ("knee_joint", "ankle_joint", "hip_joint")
"""The order of the networks."""

SERVO = Actuation(
    500.0, "hold", PD((40.0, 99.0, 20.0), (2.0, 6.0, 1.0), tuple(POSE.values()), (88.0, 139.0, 50.0))
)
LEG = Task(
    name="leg",
    observation=(
        *(Signal(f"{joint}_angle", "rad", -1.0, 2.0) for joint in JOINTS),
        *(Signal(f"{joint}_angular_velocity", "rad/s") for joint in JOINTS),
    ),
    action=tuple(Signal(f"{joint}_setpoint", "rad", -1.5, 1.5) for joint in JOINTS),
    rate_hz=50.0,
    horizon=100,
    make_arguments={"actuation": SERVO},
)
METADATA = {
    "joint_names": ",".join(ITS_JOINTS),
    "action_scale": "0.250,0.500,0.100",
    "default_joint_pos": "0.700,-0.400,0.100",
    "joint_stiffness": "99.000,20.000,40.000",
    "joint_damping": "6.000,1.000,2.000",
}
"""As mjlab writes them."""


def network(inputs: int, metadata: dict[str, str], outputs: int = 3, seed: int = 0) -> onnx.ModelProto:
    """Return tanh(o W) of batch 1, with metadata."""
    W = np.random.default_rng(seed).standard_normal((inputs, outputs)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "W"], ["h"]), helper.make_node("Tanh", ["h"], ["actions"])],
        "g",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, outputs])],
        [numpy_helper.from_array(W, "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


def weight(model: onnx.ModelProto) -> NDArray[np.float32]:
    """Return W of `network`."""
    array: NDArray[np.float32] = numpy_helper.to_array(model.graph.initializer[0])
    return array


def exported(model: onnx.ModelProto, folder: Path, task: Task = LEG, **options: Any) -> OnnxPolicy:
    """Export a network as `odeploy export --from onnx` does."""
    path, rows = folder / "net.onnx", folder / "rows.npz"
    path.write_bytes(model.SerializeToString())
    observations = np.random.default_rng(1).standard_normal((64, len(task.observation))).astype(np.float32)
    np.savez(rows, observations=observations)
    source = external_source("onnx", path, ExternalOptions(demos=str(rows), **options), task)
    export_policy(source, folder / "p.onnx", actuation=source.actuation)
    return OnnxPolicy.load(folder / "p.onnx")
