"""Ends of ONNX graphs: the right output, parts, noise and types, or the option that has to name them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from odeploy_export.options import ReadingOptions
from odeploy_export.pipeline import export_policy
from odeploy_export.sources.external import from_external
from odeploy_export.sources.onnx_ends import EndNames
from odeploy_export.sources.onnx_model import from_onnx
from odeploy_runtime.errors import ContractError, OdeployError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.policies import recorded
from tests.unit.export.sources.test_onnx_model import DOUBLE, W1, W2, net, value

NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


def policy_of(
    model: onnx.ModelProto, folder: Path, names: EndNames = EndNames(), squash: str | None = "clip"
) -> OnnxPolicy:
    (folder / "bare.onnx").write_bytes(model.SerializeToString())
    reading = ReadingOptions(squash=squash)  # type: ignore[arg-type]
    external = from_onnx(folder / "bare.onnx", HOPPER, names)
    export_policy(from_external(external, HOPPER, recorded(HOPPER, 64), reading=reading), folder / "p.onnx")
    return OnnxPolicy.load(folder / "p.onnx")


def test_of_several_outputs_the_only_one_of_the_actions_size_is_kept(tmp_path: Path) -> None:
    nodes = helper.make_node("Tanh", ["y"], ["a"]), helper.make_node("MatMul", ["h2", "V"], ["v"])
    outputs = value("v", ["n", 1]), value("a", ["n", 3])
    policy = policy_of(net(*nodes, outputs=outputs, V=np.ones((16, 1), np.float32)), tmp_path)
    row = recorded(HOPPER)[0]
    assert np.allclose(policy.infer(row, NO_NOISE), np.tanh(np.tanh(row @ W1) @ W2), atol=1e-5)
    written = onnx.load(tmp_path / "p.onnx").graph
    assert not any(tensor.name.endswith("/V") for tensor in written.initializer)
    assert policy.manifest.provenance["output"] == "a"


def test_mean_and_deviation_need_the_outputs_name_and_then_the_squash(tmp_path: Path) -> None:
    model = net(
        helper.make_node("MatMul", ["h2", "S"], ["log_std"]),
        outputs=(value("y", ["n", 3]), value("log_std", ["n", 3])),
        S=np.ones((16, 3), np.float32),
    )
    with pytest.raises(UsageError, match="expected --output NAME, the actions of the 3 signals of hopper, got 2"):
        policy_of(model, tmp_path)
    with pytest.raises(UsageError, match="got log_std, as SAC and TQC have"):
        policy_of(model, tmp_path, EndNames(output="y"), None)
    policy, row = policy_of(model, tmp_path, EndNames(output="y"), "tanh"), recorded(HOPPER)[0]
    assert np.allclose(policy.infer(row, NO_NOISE), np.tanh(np.tanh(row @ W1) @ W2), atol=1e-5)
    with pytest.raises(UsageError, match="--output action: expected --output NAME"):
        policy_of(model, tmp_path, EndNames(output="action"))


def parts() -> onnx.ModelProto:
    """Return a graph of a command (3) and a state (8), whose order nothing states."""
    graph = helper.make_graph(
        [
            helper.make_node("Concat", ["command", "state"], ["x"], axis=1),
            helper.make_node("MatMul", ["x", "W"], ["h"]),
            helper.make_node("Tanh", ["h"], ["action"]),
        ],
        "g",
        [value("state", [1, 8]), value("command", [1, 3])],
        [value("action", [1, 3])],
        [numpy_helper.from_array(W1[:, :3].copy(), "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_several_observation_inputs_are_parts_in_the_named_order(tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"got 2: state float \(1, 8\), command float \(1, 3\).* with --inputs"
    ):
        policy_of(parts(), tmp_path)
    policy, row = policy_of(parts(), tmp_path, EndNames(("state", "command"))), recorded(HOPPER)[0]
    expected = np.tanh(np.concatenate([row[8:], row[:8]]) @ W1[:, :3])
    assert np.allclose(policy.infer(row, NO_NOISE), expected, atol=1e-5)
    with pytest.raises(UsageError, match="--inputs stat: expected one of state, command"):
        policy_of(parts(), tmp_path, EndNames(("stat", "command")))


def test_float64_ends_are_converted(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Tanh", ["h"], ["action"])],
        "g",
        [value("x", ["n", 11], DOUBLE)],
        [value("action", ["n", 3], DOUBLE)],
        [numpy_helper.from_array(W1[:, :3].astype(np.float64), "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    policy, row = policy_of(model, tmp_path), recorded(HOPPER)[0]
    assert np.allclose(policy.infer(row, NO_NOISE), np.tanh(row @ W1[:, :3]), atol=1e-5)


def test_a_second_input_named_as_noise_gets_the_runtimes_draws(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["h"]),
            helper.make_node("ReduceSum", ["z", "one"], ["s"], keepdims=0),
            helper.make_node("Add", ["h", "s"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["action"]),
        ],
        "g",
        [value("x", ["n", 11]), value("z", ["n", 2, 3])],
        [value("action", ["n", 3])],
        [numpy_helper.from_array(W1[:, :3].copy(), "W"), numpy_helper.from_array(np.array([1]), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    policy, row = policy_of(model, tmp_path, EndNames(noise="z")), recorded(HOPPER)[0]
    assert policy.manifest.noise == Noise("normal", (1, 1, 6))
    draw = np.linspace(0, 0.5, 6, dtype=np.float32).reshape(1, 1, 1, 6)
    expected = np.tanh(row @ W1[:, :3] + draw.reshape(2, 3).sum(axis=0))
    assert np.allclose(policy.infer(row, draw), expected, atol=1e-5)


def test_a_clock_beside_the_observation_is_refused_with_its_name_and_the_outputs(tmp_path: Path) -> None:
    model = net(
        helper.make_node("Gather", ["motion", "time_step"], ["joint_pos"]),
        inputs=(value("time_step", [1], TensorProto.INT64),),
        outputs=(value("y", ["n", 3]), value("joint_pos", [1, 3])),
        motion=np.zeros((100, 3), np.float32),
    )
    with pytest.raises(OdeployError, match=r"time_step int64 \(1\), and the outputs y, joint_pos") as refused:
        policy_of(model, tmp_path)
    assert "\n" not in str(refused.value)


def test_an_opset_that_does_not_convert_stays_with_the_lowest_ir_version_that_it_needs(tmp_path: Path) -> None:
    policy, row = (
        policy_of(net(helper.make_node("Gelu", ["y"], ["s"]), out="s", opset=20), tmp_path),
        recorded(HOPPER)[0],
    )
    written = onnx.load(tmp_path / "p.onnx")
    assert (written.opset_import[0].version, written.ir_version) == (20, 9)
    y = torch.from_numpy(np.tanh(row @ W1) @ W2)
    assert np.allclose(policy.infer(row, NO_NOISE), nn.functional.gelu(y).clamp(-1, 1), atol=1e-5)


def test_files_of_opset_18_have_ir_version_8(tmp_path: Path) -> None:
    policy_of(net(opset=13), tmp_path)
    assert onnx.load(tmp_path / "p.onnx").ir_version == 8
