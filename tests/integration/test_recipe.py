"""A policy with a recipe, served to a robot that sends raw signals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.reports.replay import replay, require_same
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.run import drive
from tests.unit.runtime.fakes import manifest
from tests.unit.runtime.naive_recipe import NaiveRecipe

TASK = replace(get("multigoal-2d"), horizon=20)
RECIPE = Recipe(
    TASK.observation,
    (Term("signals", ("point_x", "point_y"), (2, 1, 0)), Term("action"), Term("phase", period_s=0.7)),
)


def network(inputs: int, actions: int) -> onnx.ModelProto:
    """Return tanh(W x): each input affects each action."""
    weights = np.random.default_rng(0).normal(0, 0.5, (inputs, actions)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["observation", "weights"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ("batch", inputs))],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ("batch", 1, actions))],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1], np.int64), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_a_robot_that_sends_raw_signals_gets_the_actions_of_a_policy_with_a_history(tmp_path: Path) -> None:
    stacked, file = RECIPE.observation(TASK.action), tmp_path / "stacked.onnx"
    described = manifest(
        kind="mlp",
        task=TASK.name,
        rate_hz=TASK.rate_hz,
        observation=stacked,
        action=TASK.action,
        noise=Noise("none"),
        sampler=None,
        golden=(),
        recipe=RECIPE,
    )
    file.write_bytes(to_bytes(network(len(stacked), len(TASK.action)), described))

    options = RunOptions(mode="lockstep", episodes=3, trace=tmp_path / "run.trace")
    with serving(file) as endpoint:
        drive(TASK, endpoint, options)
    rows = read_trace(options.trace).rows

    policy, noise = OnnxPolicy.load(file), NoiseSource(Noise("none"), 0).draw(0, 0)
    naive = NaiveRecipe(RECIPE, len(TASK.action), TASK.rate_hz)
    for row in rows:
        number = int(row["episode"]), int(row["tick"])
        observation = np.array(naive.observe(*number, row["observation"].tolist()), np.float32)
        answer = policy.infer(observation, noise)[0]
        naive.keep(*number, answer.tolist())
        np.testing.assert_allclose(row["offered"], answer, atol=1e-6, rtol=0)
    same = replay(read_trace(options.trace), policy)
    assert len(same.rows) == len(rows)
    assert "the same actions" in require_same(same, policy, 1e-6, "trace")
    assert sorted(set(rows["episode"].tolist())) == [0, 1, 2]
    assert np.ptp(rows["offered"], axis=0).min() > 0.1
