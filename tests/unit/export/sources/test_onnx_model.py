"""External ONNX files: accepted ones match numpy, others are refused in one line that names the cause."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from odeploy_export.options import ReadingOptions
from odeploy_export.pipeline import export_policy
from odeploy_export.sources.external import from_external
from odeploy_export.sources.onnx_ends import EndNames
from odeploy_export.sources.onnx_model import from_onnx
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_sim.catalogue.locomotion import HOPPER, WALKER2D
from odeploy_sim.tasks.task import Task
from tests.policies import policy_bytes, recorded

RNG = np.random.default_rng(0)
W1, W2 = (RNG.standard_normal(shape).astype(np.float32) for shape in ((11, 16), (16, 3)))
CLIPPED = ReadingOptions(squash="clip")
FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def value(name: str, shape: list[Any], kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def net(
    *nodes: onnx.NodeProto,
    out: str = "y",
    opset: int = 18,
    batch: str | int = "n",
    inputs: tuple[onnx.ValueInfoProto, ...] = (),
    outputs: tuple[onnx.ValueInfoProto, ...] = (),
    **weights: Any,
) -> onnx.ModelProto:
    """Return tanh(x W1) W2, followed by the given nodes."""
    body = [
        helper.make_node("MatMul", ["x", "W1"], ["h1"], name="first"),
        helper.make_node("Tanh", ["h1"], ["h2"]),
        helper.make_node("MatMul", ["h2", "W2"], ["y"]),
    ]
    graph = helper.make_graph(
        [*body, *nodes],
        "g",
        [value("x", [batch, 11]), *inputs],
        list(outputs) or [value(out, [batch, 3])],
        [numpy_helper.from_array(v, n) for n, v in {"W1": W1, "W2": W2, **weights}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def exported(model: onnx.ModelProto, folder: Path, task: Task = HOPPER, names: EndNames = EndNames()) -> Manifest:
    path = folder / "bare.onnx"
    path.write_bytes(model.SerializeToString())
    return export_policy(
        from_external(from_onnx(path, task, names), task, recorded(task, 200), reading=CLIPPED), folder / "p.onnx"
    )


def refusal(model: onnx.ModelProto, folder: Path, task: Task = HOPPER) -> str:
    with pytest.raises(OdeployError) as refused:
        exported(model, folder, task)
    assert not (folder / "p.onnx").exists()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_a_file_of_any_common_opset_matches_numpy(
    opset: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    manifest = exported(net(opset=opset), tmp_path)
    assert (manifest.method, manifest.kind, manifest.name) == ("onnx", "mlp", "hopper-bare")
    assert manifest.provenance["opset"] == opset
    assert manifest.parity[0].batches == (1, 3, 8)
    assert "limits: nodes that clip to the task's limits were appended" in caplog.messages
    assert any(line.endswith("actions exceed the task's and are clipped") for line in caplog.messages)
    written = onnx.load(tmp_path / "p.onnx")
    assert [(o.domain, o.version) for o in written.opset_import] == [("", 18)]
    policy, no_noise = OnnxPolicy.load(tmp_path / "p.onnx"), np.zeros((1, 0, 0, 0), np.float32)
    for observation in recorded(HOPPER):
        expected = np.clip(np.tanh(observation @ W1) @ W2, -1, 1)
        assert np.allclose(policy.infer(observation, no_noise)[0], expected, atol=1e-5)


def test_a_chunk_of_actions_is_served_as_one(tmp_path: Path) -> None:
    W3 = RNG.standard_normal((16, 6)).astype(np.float32)
    nodes = helper.make_node("MatMul", ["h2", "W3"], ["flat"]), helper.make_node("Reshape", ["flat", "s"], ["c"])
    model = net(*nodes, outputs=(value("c", ["n", 2, 3]),), W3=W3, s=np.array([-1, 2, 3]))
    assert exported(model, tmp_path).horizon == 2
    policy, observation = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[0]
    expected = np.clip(np.tanh(observation @ W1) @ W3, -1, 1).reshape(2, 3)
    assert np.allclose(policy.infer(observation, np.zeros((1, 0, 0, 0), np.float32)), expected, atol=1e-5)


def test_a_graph_with_a_fixed_batch_of_one_is_served(tmp_path: Path) -> None:
    model = net(helper.make_node("Reshape", ["y", "s"], ["c"]), out="c", batch=1, s=np.array([1, 3]))
    assert exported(model, tmp_path).parity[0].batches == (1,)
    assert OnnxPolicy.load(tmp_path / "p.onnx").golden_error <= 1e-5


def test_golden_rows_match_numpy(tmp_path: Path) -> None:
    row = exported(net(), tmp_path).golden[3]
    expected = np.clip(np.tanh(np.array(row.observation) @ W1.astype(float)) @ W2.astype(float), -1, 1)
    assert np.allclose(row.action, expected, atol=1e-5)


_BRANCH = helper.make_graph(
    [helper.make_node("RandomNormal", [], ["r"], name="dice", shape=[1, 3])], "then", [], [value("r", [1, 3])]
)


@pytest.mark.parametrize(
    ("model", "fragment"),
    [
        (
            net(helper.make_node("RandomNormalLike", ["y"], ["r"], name="dice"), out="r"),
            "node dice: expected a deterministic graph, whose actions can be checked, got the operator Random",
        ),
        (
            net(
                helper.make_node("If", ["c"], ["r"], then_branch=_BRANCH, else_branch=_BRANCH),
                outputs=(value("r", [1, 3]),),
                c=np.array(True),
            ),
            "node dice: expected a deterministic graph",
        ),
        (net(inputs=(value("z", ["n", 3]),)), "11 observation signals, got 2: x float (n, 11), z float (n, 3)"),
        (
            net(helper.make_node("ArgMax", ["y"], ["i"], axis=1), outputs=(value("i", ["n", 1], INT64),)),
            "output i: expected one float32 output, the actions, got i int64 (n, 1); export continuous",
        ),
        (
            net(
                helper.make_node("Exp", ["y"], ["sigma"]), outputs=(value("y", ["n", 3]), value("sigma", ["n", 3]))
            ),
            "expected --output NAME, the actions of the 3 signals of hopper, got 2: y float (n, 3)",
        ),
        (net(outputs=(value("h2", ["n", 16]),)), "has 3 action signals, thigh_joint_torque to foot_joint_torque"),
        (net(batch=4), "input x: expected one float32 input (B, 11)"),
        (net(W2=np.where(np.eye(16, 3) > 0, np.nan, W2)), "weight W2: expected numbers, got NaN"),
        (
            net(helper.make_node("Div", ["y", "zero"], ["q"]), out="q", zero=np.zeros(3, np.float32)),
            "signal thigh_joint_torque: expected finite actions",
        ),
        (net(helper.make_node("Tanh", ["nothing"], ["q"]), out="q"), "expected a valid ONNX model"),
    ],
    ids=["chance", "chance in a branch", "two inputs", "int", "two outputs", "wrong size", "batch of 4", "nan",
         "infinite", "broken"],
)  # fmt: skip
def test_a_model_that_is_no_valid_policy_is_refused(model: onnx.ModelProto, fragment: str, tmp_path: Path) -> None:
    assert fragment in refusal(model, tmp_path)


def test_an_observation_of_another_task_is_refused_by_its_size(tmp_path: Path) -> None:
    message = refusal(net(), tmp_path, WALKER2D)
    assert "input x: expected one float32 input (B, 17): task walker2d has 17 observation signals" in message
    assert "got x float (n, 11)" in message


def test_an_operator_of_another_domain_is_refused(tmp_path: Path) -> None:
    model = net(helper.make_node("Gelu", ["y"], ["g"], name="fused", domain="com.microsoft"), out="g")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "node fused: expected operators of ONNX's own domain, got Gelu of com.microsoft" in refusal(
        model, tmp_path
    )


def test_a_policy_file_is_refused_as_a_bare_file(tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    path.write_bytes(policy_bytes("hopper"))
    with pytest.raises(OdeployError, match="expected a bare ONNX file, got a policy file; serve it as it is"):
        from_onnx(path, HOPPER)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x0a"])
def test_a_missing_file_or_one_that_is_not_onnx_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(OdeployError, match=r"x\.onnx: expected a (whole|valid) ONNX"):
        from_onnx(tmp_path / "x.onnx", HOPPER)
    with pytest.raises(OdeployError, match="expected an ONNX file, got No such file"):
        from_onnx(tmp_path / "none.onnx", HOPPER)


def test_an_output_that_differs_from_the_reference_evaluators_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.onnx"
    path.write_bytes(net().SerializeToString())
    external = from_onnx(path, HOPPER)
    tensor = external.model.graph.initializer[1]
    tensor.CopyFrom(numpy_helper.from_array(0.9 * W2, "W2"))
    with pytest.raises(OdeployError, match="expected onnx's reference evaluator and ONNX within 1e-05") as refused:
        export_policy(from_external(external, HOPPER, recorded(HOPPER), reading=CLIPPED), tmp_path / "p.onnx")
    assert "from onnx's reference evaluator and" in str(refused.value)
    assert not (tmp_path / "p.onnx").exists()
