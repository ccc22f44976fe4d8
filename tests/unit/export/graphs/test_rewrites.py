"""The rewrite changes the form of a Gemm, not its result."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from odeploy_export.graphs.rewrites import narrow_gemms

Array = NDArray[np.float32]
RNG = np.random.default_rng(0)


def model(columns: int, alphas: tuple[float, ...]) -> onnx.ModelProto:
    """x @ w * alpha + c for each alpha, with one shared weight."""
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


def test_a_narrow_gemm_gives_the_same_with_its_alpha_inside_the_weight() -> None:
    m = model(3, (0.1, 1.0, 1 / 3, 0.1))
    x = RNG.standard_normal((5, 8)).astype(np.float32)
    before = run(m, x)
    narrow_gemms(m)
    onnx.checker.check_model(m)
    for old, new in zip(before, run(m, x), strict=True):
        assert np.allclose(old, new, atol=1e-6)
    attributes = [{a.name: a.f or a.i for a in n.attribute} for n in m.graph.node]
    assert all(a["alpha"] == 1 and a["transB"] == 1 for a in attributes)


def test_each_distinct_alpha_has_one_copy_and_the_old_weight_is_gone() -> None:
    m = model(3, (0.1, 0.25, 0.1))
    narrow_gemms(m)
    assert [t.name for t in m.graph.initializer] == ["c", "w.times_0.100000001", "w.times_0.25"]


def test_a_wide_gemm_stays_as_it_is() -> None:
    m = model(64, (1.0,))
    before = m.SerializeToString()
    narrow_gemms(m)
    assert m.SerializeToString() == before
