"""Adapting an external graph: limits, shape and batch, each compared with numpy."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from odeploy_export.sources.adapt import Adapted, adapt
from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal

O, A = 4, 2  # noqa: E741
WEIGHT = np.arange(O * A, dtype=np.float32).reshape(O, A) - 3
OBSERVATION = tuple(Signal(f"o{i}", "1") for i in range(O))
SAME = tuple(Signal(f"a{i}", "1", -1, 1) for i in range(A))
UNEVEN = (Signal("a0", "N", -2, 0.5), Signal("a1", "N", None, 3))
FREE = tuple(Signal(f"a{i}", "1") for i in range(A))


def graph(*nodes: onnx.NodeProto, out: str, batch: str | int = "n", **constants: Any) -> onnx.ModelProto:
    """Return obs -> MatMul -> h -> the nodes, with input and output names that odeploy does not use."""
    weights = {"W": WEIGHT, **constants}
    made = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "W"], ["h"]), *nodes],
        "g",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [batch, O])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [batch, A])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def finished(model: onnx.ModelProto, actions: tuple[Signal, ...]) -> Adapted:
    return adapt(model, OBSERVATION, actions, 0, 1, "p.onnx")


def answers(model: onnx.ModelProto, observation: np.ndarray) -> np.ndarray:
    (action,) = ReferenceEvaluator(model).run(["action"], {"observation": observation})
    return np.asarray(action)


@pytest.mark.parametrize(("actions", "low", "high"), [(SAME, -1, 1), (UNEVEN, [-2, -np.inf], [0.5, 3])])
def test_limits_are_appended_and_the_action_gets_a_chunk_dimension(
    actions: tuple[Signal, ...], low: object, high: object
) -> None:
    made = finished(graph(out="h"), actions)
    observation = np.random.default_rng(0).standard_normal((5, O), np.float32)
    expected = np.clip(observation @ WEIGHT, low, high)[:, None]  # type: ignore[call-overload]
    assert np.allclose(answers(made.model, observation), expected, atol=1e-6)
    assert made.notes == ("limits: nodes that clip to the task's limits were appended",)
    assert made.batches == (1, 3, 8)


@pytest.mark.parametrize(
    ("node", "constants", "actions", "kept"),
    [
        (helper.make_node("Tanh", ["h"], ["a"]), {}, SAME, True),
        (helper.make_node("Tanh", ["h"], ["a"]), {}, UNEVEN, False),
        (
            helper.make_node("Clip", ["h", "l", "u"], ["a"]),
            {"l": np.float32(-1), "u": np.float32(0.5)},
            SAME,
            True,
        ),
        (helper.make_node("Clip", ["h", "l", "u"], ["a"]), {"l": np.float32(-1), "u": np.float32(2)}, SAME, False),
        (helper.make_node("Clip", ["h", "", "u"], ["a"]), {"u": np.float32(1)}, SAME, False),
        (helper.make_node("Identity", ["h"], ["a"]), {}, FREE, True),
        (helper.make_node("Sin", ["h"], ["a"]), {}, SAME, False),
    ],
    ids=["tanh", "tanh beyond", "clip", "clip beyond", "half a clip", "no limits", "unknown"],
)
def test_only_a_graph_that_keeps_the_limits_is_unchanged(
    node: onnx.NodeProto, constants: dict[str, Any], actions: tuple[Signal, ...], kept: bool
) -> None:
    made = finished(graph(node, out="a", **constants), actions)
    assert (made.notes == ()) == kept


def test_a_batch_of_one_becomes_dynamic_if_rows_are_independent() -> None:
    made = finished(graph(out="h", batch=1), SAME)
    assert made.batches == (1, 3, 8)
    assert made.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Reshape", ["h", "shape"], ["a"]),
        helper.make_node("ReduceMean", ["h", "axes"], ["a"], keepdims=1),
    ],
    ids=["a shape of one row", "rows that are averaged"],
)
def test_a_batch_of_one_stays_if_the_graph_needs_it(node: onnx.NodeProto) -> None:
    made = finished(graph(node, out="a", batch=1, shape=np.array([1, A]), axes=np.array([0])), SAME)
    assert made.batches == (1,)
    assert "batch: fixed at 1" in made.notes
    observation = np.full((1, O), 0.1, np.float32)
    assert np.allclose(answers(made.model, observation), np.clip(observation @ WEIGHT, -1, 1)[None], atol=1e-6)


def test_a_graph_that_does_not_run_is_refused_in_one_line() -> None:
    node = helper.make_node("Reshape", ["h", "shape"], ["a"])
    with pytest.raises(ContractError, match=r"p.onnx: expected a graph for one .*; export it with") as refused:
        finished(graph(node, out="a", shape=np.array([5, A])), SAME)
    assert "\n" not in str(refused.value)


def test_a_graph_with_odeploys_own_names_has_no_collision() -> None:
    model = graph(helper.make_node("Identity", ["h"], ["observation"]), out="action", batch="n")
    model.graph.node.append(helper.make_node("Sin", ["observation"], ["action"]))
    made = finished(model, SAME)
    observation = np.ones((2, O), np.float32)
    assert np.allclose(answers(made.model, observation)[:, 0], np.sin(observation @ WEIGHT), atol=1e-6)


def test_paths_in_metadata_are_not_written_to_the_file() -> None:
    model = graph(helper.make_node("Sin", ["h"], ["a"], doc_string="/home/alice/net.py"), out="a")
    model.graph.initializer[0].doc_string = "/home/alice"
    model.graph.doc_string = model.doc_string = "/home/alice"
    helper.set_model_props(model, {"made": "/home/alice"})
    assert b"alice" not in finished(model, SAME).model.SerializeToString()
