"""Diagnosis of a wrong graph: known faults are named, unknown ones are not."""

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.mlp import MlpGraph, StudentGraph
from odeploy_export.parity.diagnosis import not_finite_weights
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from tests.exports import checked, diagnosed, explanation, rows_of
from tests.policies import flow_policy, recorded, student_policy

EULER_4 = Sampler("euler", 4, uniform_grid(4))
ACTION = MAZE_MEDIUM.action


class TorchSession:
    """A torch module with the interface of an ONNX session. It saves the seconds of tracing."""

    def __init__(self, graph: nn.Module, *inputs: str) -> None:
        self._graph, self._inputs = graph.eval(), inputs

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, shape=["batch"]) for name in self._inputs]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="action", shape=["batch", 1, 2])]

    def get_providers(self) -> list[str]:
        return ["torch"]

    @torch.no_grad()
    def run(self, _outputs: Any, feed: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        return [self._graph(*(torch.from_numpy(feed[name]) for name in self._inputs)).numpy()]


def session_of(graph: nn.Module, *inputs: str) -> ort.InferenceSession:
    made: Any = TorchSession(graph, *inputs)
    return made


def flow_fault(graph: nn.Module) -> str | None:
    """Return the diagnosed fault of a graph that is not `flow_policy` with four Euler steps."""
    policy, session = flow_policy(MAZE_MEDIUM), session_of(graph, "observation", "noise")
    rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise("normal", (1, 1, 2)))
    with pytest.raises(ParityError) as refused:
        checked(session, policy, EULER_4, rows, ACTION, "graph")
    fault = diagnosed(session, policy, EULER_4, rows, ACTION)
    better = explanation(refused.value, session, policy, EULER_4, rows, ACTION)
    assert (better is refused.value) == (fault is None)
    assert fault is None or f"as if {fault}; " in str(better)
    return fault


def split(policy: FlowPolicy, sampler: Sampler = EULER_4) -> SplitFlow:
    return SplitFlow(policy, solver(sampler.solver), sampler.t_grid)


def test_a_correct_graph_has_no_fault() -> None:
    policy, session = flow_policy(MAZE_MEDIUM), session_of(split(flow_policy(MAZE_MEDIUM)), "observation", "noise")
    rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise("normal", (1, 1, 2)))
    assert diagnosed(session, policy, EULER_4, rows, ACTION) is None


def test_time_that_runs_backwards_is_named() -> None:
    class Backwards(nn.Module):
        def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
            t_grid = EULER_4.t_grid[::-1]
            return (
                flow_policy(MAZE_MEDIUM).sample(observation, noise[:, 0, 0], solver("euler"), t_grid).unsqueeze(1)
            )

    assert flow_fault(Backwards()) == "time ran backwards, from t = 1 to 0"


def test_a_velocity_at_the_time_of_the_other_convention_is_named() -> None:
    class Reversed(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
            velocity: Tensor = self.inside(observation, x, 1 - t)
            return velocity

    class Graph(nn.Module):
        def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
            policy: Any = flow_policy(MAZE_MEDIUM)
            policy.velocity = Reversed(policy.velocity)
            action: Tensor = policy.sample(observation, noise[:, 0, 0], solver("euler"), EULER_4.t_grid)
            return action.unsqueeze(1)

    assert flow_fault(Graph()) == "the velocity were taken at 1 - t: t = 1 is the action here"


def test_a_velocity_from_action_to_noise_is_named() -> None:
    policy = flow_policy(MAZE_MEDIUM)
    policy.velocity.last.weight.data.neg_()
    policy.velocity.last.bias.data.neg_()
    assert flow_fault(split(policy)) == "the velocity had the other sign: it points from noise to action here"


def _no_normaliser(p: FlowPolicy) -> None:
    p.observation_mean.zero_()
    p.observation_std.fill_(1)


def _no_scale(p: FlowPolicy) -> None:
    p.action_mean.zero_()
    p.action_std.fill_(1)


def _no_bounds(p: FlowPolicy) -> None:
    p.low.fill_(-torch.inf)
    p.high.fill_(torch.inf)


def _other_weights(p: FlowPolicy) -> None:
    nn.init.normal_(p.velocity.hidden[0].weight, generator=torch.Generator().manual_seed(9))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_no_normaliser, "the observation's normaliser were left out"),
        (_no_scale, "the action's scale were left out"),
        (_no_bounds, "the bounds were dropped"),
        (_other_weights, None),
    ],
)
def test_a_missing_stage_is_named_and_an_unknown_fault_is_not(
    change: Callable[[FlowPolicy], None], fault: str | None
) -> None:
    policy = flow_policy(MAZE_MEDIUM)
    change(policy)
    assert flow_fault(split(policy)) == fault


def test_another_solver_is_named() -> None:
    graph = split(flow_policy(MAZE_MEDIUM), dataclasses.replace(EULER_4, solver="heun"))
    assert flow_fault(graph) == "the solver were heun, not euler"


class _After(nn.Module):
    """A graph followed by one more stage."""

    def __init__(self, graph: nn.Module, stage: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inside, self._stage = graph, stage

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        return self._stage(self.inside(observation, noise))


def test_a_second_tanh_is_named() -> None:
    policy = flow_policy(MAZE_MEDIUM)
    assert flow_fault(_After(split(policy), torch.tanh)) == "tanh were applied twice"


def test_swapped_joints_are_named() -> None:
    fault = flow_fault(_After(split(flow_policy(MAZE_MEDIUM)), lambda action: action.flip(-1)))
    assert fault is not None
    assert "permuted: signal motor_x held signal motor_y, signal motor_y held signal motor_x" in fault


def test_a_flow_with_a_weight_that_is_not_finite_is_named() -> None:
    policy = flow_policy(MAZE_MEDIUM)
    policy.velocity.last.weight.data[0, 0] = torch.nan
    assert flow_fault(split(policy)) == "a weight in the graph were not finite"


@pytest.mark.parametrize("kind", ["student", "mlp"])
def test_policies_without_a_solver_are_diagnosed_too(kind: str) -> None:
    policy, changed = _one_pass(kind), _one_pass(kind)
    changed.observation_mean.zero_()
    changed.observation_std.fill_(1)
    session = session_of(StudentGraph(changed) if kind == "student" else MlpGraph(changed), "observation")
    rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise("none"))
    assert diagnosed(session, policy, None, rows, ACTION) == "the observation's normaliser were left out"


def _one_pass(kind: str) -> Any:
    if kind == "student":
        return student_policy(MAZE_MEDIUM)
    torch.manual_seed(0)
    policy = MlpPolicy(MlpConfig(6, 2))
    policy.observation_mean, policy.observation_std = (
        torch.full((6,), 2.0).double(),
        torch.full((6,), 3.0).double(),
    )
    policy.low, policy.high = -torch.ones(2).double(), torch.ones(2).double()
    return policy


def test_weights_that_are_not_finite_are_listed_by_name() -> None:
    sound, spoilt = np.ones((2, 2), np.float32), np.array([1, np.inf], np.float32)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, (2,))
    count = numpy_helper.from_array(np.array([3]), "count")
    weights = [count, numpy_helper.from_array(sound, "sound"), numpy_helper.from_array(spoilt, "spoilt")]
    model = helper.make_model(helper.make_graph([], "policy", [], [value], weights))
    assert not_finite_weights(onnx.load_from_string(model.SerializeToString())) == ["spoilt"]
