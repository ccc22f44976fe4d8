"""Rewrites of a graph: names of outputs, narrow Gemms, half precision."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.rewrites import in_precision, name_outputs, narrow_gemms
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.parity.deviation import TOLERANCES
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.exports import export
from tests.policies import flow_policy, recorded

SOURCE = Source(flow_policy(MAZE_MEDIUM), "fm-bc", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=256), {})
Array = NDArray[np.float32]
RNG = np.random.default_rng(0)


def model(columns: int, alphas: tuple[float, ...]) -> onnx.ModelProto:
    """Return x @ w * alpha + c for each alpha, with one shared weight."""
    weight = RNG.standard_normal((8, columns)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], [f"y{i}"], alpha=alpha, beta=1.0, transA=0, transB=0)
        for i, alpha in enumerate(alphas)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 8])],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["b", columns]) for i in range(len(alphas))],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.ones(columns, np.float32), "c")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def run(m: onnx.ModelProto, x: Array) -> list[Array]:
    outputs = ReferenceEvaluator(m).run(None, {"x": x})
    return [np.asarray(y) for y in outputs]


def test_a_narrow_gemm_with_alpha_folded_into_its_weight_computes_the_same() -> None:
    m = model(3, (0.1, 1.0, 1 / 3, 0.1))
    x = RNG.standard_normal((5, 8)).astype(np.float32)
    before = run(m, x)
    narrow_gemms(m)
    onnx.checker.check_model(m)
    for old, new in zip(before, run(m, x), strict=True):
        assert np.allclose(old, new, atol=1e-6)
    attributes = [{a.name: a.f or a.i for a in n.attribute} for n in m.graph.node]
    assert all(a["alpha"] == 1 and a["transB"] == 1 for a in attributes)


def test_each_distinct_alpha_has_one_copy_and_the_old_weight_is_removed() -> None:
    m = model(3, (0.1, 0.25, 0.1))
    narrow_gemms(m)
    assert [t.name for t in m.graph.initializer] == ["c", "w.times_0.100000001", "w.times_0.25"]


def test_a_wide_gemm_is_unchanged() -> None:
    m = model(64, (1.0,))
    before = m.SerializeToString()
    narrow_gemms(m)
    assert m.SerializeToString() == before


def two_outputs() -> onnx.ModelProto:
    """Return a graph with the outputs y = x + x and z = y · x."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["y", "x"], ["z"])]
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xyz")
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [z, y]), opset_imports=[helper.make_opsetid("", 18)]
    )


def test_outputs_are_renamed_in_order_with_all_their_uses() -> None:
    renamed = two_outputs()
    name_outputs(renamed, ("product", "sum"))
    onnx.checker.check_model(renamed, full_check=True)
    got = ReferenceEvaluator(renamed).run(["sum", "product"], {"x": np.array([1, 3], np.float32)})
    assert [list(values) for values in got] == [[2, 6], [2, 18]]


def test_a_wrong_number_of_output_names_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        name_outputs(two_outputs(), ("action",))


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    policy = flow_policy(MAZE_MEDIUM)
    policy.low.fill_(-0.3)
    policy.high.fill_(0.3)
    return trace_graph(SplitFlow(policy, EULER, uniform_grid(2)), 6, (1, 1, 2))


def test_float32_leaves_the_graph_unchanged(graph: onnx.ModelProto) -> None:
    assert in_precision(graph, "f32") is graph


def test_half_precision_applies_to_weights_but_not_to_inputs_outputs_and_limits(graph: onnx.ModelProto) -> None:
    before = graph.SerializeToString(deterministic=True)
    half = in_precision(graph, "fp16")
    kinds = {t.name: t.data_type for t in half.graph.initializer}
    for node in half.graph.node:
        if node.op_type == "Gemm":
            assert kinds[node.input[1]] == TensorProto.FLOAT16
    assert {v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)} == {TensorProto.FLOAT}
    (clip,) = (node for node in half.graph.node if node.op_type == "Clip")
    limits = [numpy_helper.to_array(t) for t in half.graph.initializer if t.name in clip.input[1:]]
    assert sorted(float(limit) for limit in limits) == [np.float32(-0.3), np.float32(0.3)]
    assert graph.SerializeToString(deterministic=True) == before


def test_a_half_precision_file_passes_only_its_own_tolerance_and_records_it(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    manifest = export(SOURCE, path, steps=3, precision="fp16")
    (parity,) = manifest.parity
    assert TOLERANCES["f32"] < parity.max_error <= parity.tolerance == TOLERANCES["fp16"]
    assert manifest.provenance["precision"] == "fp16"
    assert 1e-5 < OnnxPolicy.load(path).golden_error <= TOLERANCES["fp16"]


def test_half_precision_fails_the_tolerance_of_float32(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"signal motor_[xy]: expected torch and ONNX within 1e-05"):
        export(SOURCE, tmp_path / "p.onnx", steps=3, precision="fp16", tolerance=1e-5)
    assert list(tmp_path.iterdir()) == []
