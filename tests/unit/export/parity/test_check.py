"""The parity check: correct graphs pass, wrong ones are refused with their row and signal."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.mlp import StudentGraph
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.parity.check import BATCHES, run_in_batches
from odeploy_export.parity.deviation import MOST, TOLERANCE, Allowed
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Noise, Parity, Sampler
from odeploy_runtime.signals import half_ranges
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.ode import SOLVERS, solver, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.student import StudentPolicy
from tests.exports import checked, reference_of, rows_of
from tests.policies import flow_policy, recorded, student_policy
from tests.thorough import mostly_thorough

EULER_3 = Sampler("euler", 3, uniform_grid(3))


def traced(graph: nn.Module, task: Task, noise_shape: tuple[int, int, int]) -> ort.InferenceSession:
    model = trace_graph(graph, len(task.observation), noise_shape)
    return open_session(model.SerializeToString(), "cpu", "graph")


def parity_of_student(policy: StudentPolicy, task: Task) -> Parity:
    session = traced(StudentGraph(policy), task, (0, 0, 0))
    return checked(session, policy, None, rows_of(policy, recorded(task), Noise("none")), task.action, "graph")


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    """The graph of `flow_policy(MAZE_MEDIUM)` with Euler in three steps."""
    return traced(SplitFlow(flow_policy(MAZE_MEDIUM), solver("euler"), EULER_3.t_grid), MAZE_MEDIUM, (1, 1, 2))


def parity_of_flow(session: ort.InferenceSession, policy: FlowPolicy, sampler: Sampler = EULER_3) -> Parity:
    rows = rows_of(flow_policy(MAZE_MEDIUM), recorded(MAZE_MEDIUM), Noise("normal", (1, 1, 2)))
    return checked(session, policy, sampler, rows, MAZE_MEDIUM.action, "graph")


@pytest.mark.parametrize("name", mostly_thorough(SOLVERS))
def test_every_solver_passes_at_full_width_in_every_noise_mode(name: str) -> None:
    policy = flow_policy(MAZE_MEDIUM, width=256)
    sampler = Sampler(name, 3, (0.0, 0.1, 0.4, 1.0))
    session = traced(SplitFlow(policy, solver(name), sampler.t_grid), MAZE_MEDIUM, (1, 1, 2))
    for mode in ("zero", "normal"):
        rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise(mode, (1, 1, 2)))
        parity = checked(session, policy, sampler, rows, MAZE_MEDIUM.action, "graph")
        assert parity.max_error <= TOLERANCE
        assert parity.batches == BATCHES == (1, 3, 8)
        assert parity.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("task", mostly_thorough([MAZE_MEDIUM, HOPPER, FETCH_REACH]), ids=lambda t: t.name)
def test_students_of_several_tasks_pass(task: Task) -> None:
    policy = student_policy(task, width=256)
    assert parity_of_student(policy, task).max_error <= TOLERANCE


def test_a_student_with_uneven_bounds_passes() -> None:
    policy = student_policy(MAZE_MEDIUM)
    policy.low, policy.high = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, 0.75])
    assert parity_of_student(policy, MAZE_MEDIUM).max_error <= TOLERANCE


def _swapped_actions(p: FlowPolicy) -> None:
    p.velocity.last.weight.data = p.velocity.last.weight.data.flip(0)


def _no_normaliser(p: FlowPolicy) -> None:
    p.observation_mean.zero_()
    p.observation_std.fill_(1)


def _dropped_bound(p: FlowPolicy) -> None:
    p.high.fill_(torch.inf)
    p.low.fill_(-torch.inf)


def _other_weights(p: FlowPolicy) -> None:
    nn.init.normal_(p.velocity.hidden[0].weight, generator=torch.Generator().manual_seed(9))  # type: ignore[arg-type]


def _nan_weights(p: FlowPolicy) -> None:
    p.velocity.last.bias.data[0] = torch.nan


@pytest.mark.parametrize("fault", [_swapped_actions, _no_normaliser, _dropped_bound, _other_weights, _nan_weights])
def test_another_policy_is_refused_with_row_and_signal(
    session: ort.InferenceSession, fault: Callable[[FlowPolicy], None]
) -> None:
    policy = flow_policy(MAZE_MEDIUM)
    assert parity_of_flow(session, policy).max_error <= TOLERANCE
    fault(policy)
    with pytest.raises(ParityError, match=r"row \d+ at batch \d, signal motor_[xy]: expected torch and ONNX"):
        parity_of_flow(session, policy)


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler("heun", 3, uniform_grid(3)),
        Sampler("euler", 4, uniform_grid(4)),
        Sampler("euler", 3, (1.0, 2 / 3, 1 / 3, 0.0)),
    ],
    ids=["another solver", "another number of steps", "time backwards"],
)
def test_another_sampler_is_refused(session: ort.InferenceSession, sampler: Sampler) -> None:
    with pytest.raises(ParityError):
        parity_of_flow(session, flow_policy(MAZE_MEDIUM), sampler)


def test_a_flow_too_steep_for_float32_passes_with_a_wider_tolerance() -> None:
    policy = flow_policy(MAZE_MEDIUM)
    with torch.no_grad():
        for parameter in policy.velocity.parameters():
            parameter.mul_(1.5)
    graph = traced(SplitFlow(policy, solver("euler"), EULER_3.t_grid), MAZE_MEDIUM, (1, 1, 2))
    rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise("normal", (1, 1, 2)))
    answers = [
        reference_of(policy, EULER_3, d)(rows.observation, rows.noise) for d in (torch.float64, torch.float32)
    ]
    lost = float((np.abs(answers[1] - answers[0]) / half_ranges(MAZE_MEDIUM.action)).max())
    assert lost > TOLERANCE
    parity = checked(graph, policy, EULER_3, rows, MAZE_MEDIUM.action, "graph")
    assert TOLERANCE < parity.max_error <= parity.tolerance == pytest.approx(4 * lost)
    with pytest.raises(ParityError, match="within 1e-05"):
        checked(graph, policy, EULER_3, rows, MAZE_MEDIUM.action, "graph", rounding=0)


@pytest.mark.parametrize(("lost", "allowed"), [(1e-6, 1e-5), (1e-5, 4e-5), (0.1, MOST), (np.inf, MOST)])
def test_the_tolerance_is_four_times_the_loss_of_float32_up_to_a_limit(lost: float, allowed: float) -> None:
    exact = np.zeros((3, 2))
    rounded = exact.copy()
    rounded[1, 1] = 2 * lost
    limit = Allowed(np.array([1.0, 2.0]), ["a", "b"]).widened([exact, rounded])
    assert limit.tolerance == pytest.approx(allowed)


def test_rows_are_recorded_random_and_edge_observations_in_that_order() -> None:
    policy, seen = student_policy(MAZE_MEDIUM), recorded(MAZE_MEDIUM)
    rows = rows_of(policy, seen, Noise("none"))
    assert np.array_equal(rows.observation[: len(seen)], seen)
    unit = policy.normalise(torch.from_numpy(rows.observation)).numpy()
    assert np.allclose(unit[-5:], np.array([[-10], [-5], [0], [5], [10]]), atol=1e-4)
    assert 2.5 < unit[len(seen) : -5].std() < 3.5


def test_batches_return_the_rows_in_order() -> None:
    policy = student_policy(MAZE_MEDIUM)
    session = open_session(trace_graph(StudentGraph(policy), 6, (0, 0, 0)).SerializeToString(), "cpu", "graph")
    rows = rows_of(policy, recorded(MAZE_MEDIUM), Noise("none"))
    exact = reference_of(policy, None, torch.float64)(rows.observation, rows.noise)
    for batch in (1, 7, 1000):
        assert np.allclose(run_in_batches(session, rows, batch), exact, atol=1e-5)
