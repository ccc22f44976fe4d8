"""Half precision is in the weights, costs what its own tolerance allows, and leaves inputs and limits alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.precision import TOLERANCES, in_precision
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.pipeline import Config, export_policy
from odeploy_export.sources.runs import Source
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.fm_irl import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.policies import flow_policy, recorded

SOURCE = Source(flow_policy(MAZE_MEDIUM), "fm-bc", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=256), {})


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    policy = flow_policy(MAZE_MEDIUM)
    policy.low.fill_(-0.3)
    policy.high.fill_(0.3)
    return trace_graph(SplitFlow(policy, EULER, uniform_grid(2)), 6, (1, 1, 2))


def test_float32_is_the_graph_as_it_is(graph: onnx.ModelProto) -> None:
    assert in_precision(graph, "f32") is graph


def test_weights_are_halved_but_neither_inputs_nor_outputs_nor_limits(graph: onnx.ModelProto) -> None:
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


def test_a_half_file_passes_under_its_own_tolerance_only_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    manifest = export_policy(SOURCE, Config(Path("run"), path, steps=3, precision="fp16"))
    (parity,) = manifest.parity
    assert TOLERANCES["f32"] < parity.max_error <= parity.tolerance == TOLERANCES["fp16"]
    assert manifest.provenance["precision"] == "fp16"
    assert 1e-5 < OnnxPolicy.load(path).golden_error <= TOLERANCES["fp16"]


def test_half_precision_is_refused_under_the_tolerance_of_float32(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"signal motor_[xy]: expected torch and ONNX within 1e-05"):
        export_policy(SOURCE, Config(Path("run"), tmp_path / "p.onnx", steps=3, precision="fp16", tolerance=1e-5))
    assert list(tmp_path.iterdir()) == []
