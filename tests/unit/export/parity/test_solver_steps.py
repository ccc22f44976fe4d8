"""Parity of a flow's intermediate states: the first step that differs from torch's is named."""

import math

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from odeploy_export.graphs.best_of_n import OUTPUTS
from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.mlp import StudentGraph
from odeploy_export.graphs.rewrites import name_outputs
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.parity.deviation import TOLERANCE, allowed_actions
from odeploy_export.parity.solver_steps import check_steps, reference_states, with_states
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, SOLVERS, solver, uniform_grid
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.flow import FlowPolicy
from tests.best_of_n import best_of_n
from tests.exports import best_of_n_graph, checked, rows_of
from tests.policies import flow_policy, recorded, student_policy
from tests.thorough import mostly_thorough

NOISE = Noise("normal", (1, 1, 2))


def traced(policy: FlowPolicy, sampler: Sampler) -> onnx.ModelProto:
    return trace_graph(SplitFlow(policy, solver(sampler.solver), sampler.t_grid), 6, NOISE.shape)


def steps(
    model: onnx.ModelProto, policy: FlowPolicy | BestOfN, sampler: Sampler, noise: Noise = NOISE
) -> tuple[float, ...]:
    rows = rows_of(policy, recorded(MAZE_MEDIUM), noise)
    flow = policy.flow if isinstance(policy, BestOfN) else policy
    return check_steps(model, flow, sampler, rows, allowed_actions(MAZE_MEDIUM.action, 1, "graph"))


@pytest.mark.parametrize("name", mostly_thorough(SOLVERS))
def test_every_solver_agrees_after_every_step(name: str) -> None:
    policy, sampler = flow_policy(MAZE_MEDIUM), Sampler(name, 3, (0.0, 0.1, 0.4, 1.0))
    errors = steps(traced(policy, sampler), policy, sampler)
    assert len(errors) == 2
    assert max(errors) <= TOLERANCE


def test_candidates_of_a_squashed_flow_agree_before_its_tanh() -> None:
    sampler, noise = Sampler("heun", 3, uniform_grid(3), 4), Noise("normal", (4, 1, 2))
    policy = best_of_n(MAZE_MEDIUM, squash=True, clip=3.0)
    model = trace_graph(best_of_n_graph(policy, solver("heun"), sampler.t_grid, 4), 6, noise.shape)
    name_outputs(model, OUTPUTS)
    assert len(steps(model, policy, sampler, noise)) == 2


def test_a_single_step_has_no_intermediate_state() -> None:
    policy, sampler = flow_policy(MAZE_MEDIUM), Sampler("euler", 1, uniform_grid(1))
    assert steps(traced(policy, sampler), policy, sampler) == ()


def test_with_a_constant_velocity_every_state_predicts_the_final_action() -> None:
    policy, sampler = flow_policy(MAZE_MEDIUM), Sampler("euler", 4, uniform_grid(4))
    policy.velocity.last.weight.data.zero_()
    rows = rows_of(policy, recorded(MAZE_MEDIUM), NOISE)
    end = policy.action_std * policy.velocity.last.bias + policy.action_mean
    expected = rows.noise[:, 0, 0] * policy.action_std.numpy() + end.detach().numpy()
    for state in reference_states(policy, sampler, rows, torch.float64):
        assert np.allclose(state, expected, atol=1e-6)  # y = x + the remaining displacement, in robot units


def test_a_fault_that_the_limits_hide_is_named_by_its_step() -> None:
    policy, sampler = flow_policy(MAZE_MEDIUM), Sampler("euler", 4, uniform_grid(4))
    policy.low.fill_(-1e-7)
    policy.high.fill_(1e-7)
    model = traced(policy, sampler)
    _, names = with_states(model, EULER, 4)
    update = next(node for node in model.graph.node if node.output[0] == names[1])
    weight = next(t for t in model.graph.initializer if t.name == update.input[1])
    other = numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.5), "other")
    model.graph.initializer.append(other)
    update.input[1] = "other"
    rows = rows_of(policy, recorded(MAZE_MEDIUM), NOISE)
    session = open_session(model.SerializeToString(), "cpu", "graph")
    assert checked(session, policy, sampler, rows, MAZE_MEDIUM.action, "graph").max_error <= TOLERANCE
    with pytest.raises(ParityError, match=r"row \d+ after step 2 of 4, t = 0\.5, signal motor_[xy]"):
        steps(model, policy, sampler)


def test_a_nan_state_is_refused() -> None:
    policy, sampler = flow_policy(MAZE_MEDIUM), Sampler("euler", 2, uniform_grid(2))
    model = traced(policy, sampler)
    policy.action_mean[0] = math.nan
    with pytest.raises(ParityError, match="after step 1 of 2"):
        steps(model, policy, sampler)


def test_a_graph_of_another_form_is_a_value_error() -> None:
    model = trace_graph(StudentGraph(student_policy(MAZE_MEDIUM)), 6, (0, 0, 0))
    with pytest.raises(ValueError, match="0 slices of a Gemm"):
        with_states(model, EULER, 3)
