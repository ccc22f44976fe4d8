"""The parity check of a recurrent graph: errors name the row and the number that differ from torch's."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from odeploy_export.graphs.recurrent import recurrent_graph
from odeploy_export.parity.check import run_in_batches
from odeploy_export.parity.sequences import played, run_sequences
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Noise, Parity
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.recurrent import RecurrentPolicy
from tests.exports import checked, reference_of, rows_of
from tests.recurrent import recurrent_policy, recurrent_rows


def session(policy: RecurrentPolicy) -> ort.InferenceSession:
    return open_session(recurrent_graph(policy).SerializeToString(), "cpu", "graph")


def parity_of(graph: ort.InferenceSession, policy: RecurrentPolicy, task: Task = MAZE_MEDIUM) -> Parity:
    rows = rows_of(recurrent_policy(task), recurrent_rows(task), Noise("none"))
    return checked(graph, policy, None, rows, task.action, "graph")


@pytest.mark.parametrize("task", [MAZE_MEDIUM, HOPPER], ids=lambda t: t.name)
def test_the_graph_of_a_recurrent_policy_passes(task: Task) -> None:
    policy = recurrent_policy(task)
    parity = parity_of(session(policy), policy, task)
    assert 0 < parity.max_error <= 1e-5
    assert (parity.rows, parity.batches) == (32 + 64 + 5, (1, 3, 8))


def test_a_policy_that_amplifies_rounding_passes() -> None:
    policy = recurrent_policy(MAZE_MEDIUM, scale=16)
    lanes = np.tile(recurrent_rows(MAZE_MEDIUM), (1, 4, 1))
    exact, single = (played(policy, lanes, dtype) for dtype in (torch.float64, torch.float32))
    assert np.abs(exact - single).max() > 1e-4  # too much for any fixed tolerance along a sequence
    assert parity_of(session(policy), policy).max_error <= 1e-5


def _of(policy: RecurrentPolicy, name: str) -> torch.Tensor:
    return policy.gru.get_parameter(name).data


def _other_state_weights(p: RecurrentPolicy) -> None:
    _of(p, "weight_hh_l0")[3] += 0.01


def _gates_swapped(p: RecurrentPolicy) -> None:
    _of(p, "weight_hh_l0")[:32] = _of(p, "weight_hh_l0")[:32].roll(16, 0)


def _candidate_bias_outside_the_reset_gate(p: RecurrentPolicy) -> None:
    inside = _of(p, "bias_hh_l0")[32:].clone()
    _of(p, "bias_ih_l0")[32:] += inside
    _of(p, "bias_hh_l0")[32:] = 0


def _no_normaliser(p: RecurrentPolicy) -> None:
    p.observation_mean.zero_()
    p.observation_std.fill_(1)


def _other_head(p: RecurrentPolicy) -> None:
    p.last.bias.data += 0.01


@pytest.mark.parametrize(
    "fault",
    [_other_state_weights, _gates_swapped, _candidate_bias_outside_the_reset_gate, _no_normaliser, _other_head],
)
def test_another_policy_is_refused_with_row_and_number(fault: Callable[[RecurrentPolicy], None]) -> None:
    graph, policy = session(recurrent_policy(MAZE_MEDIUM)), recurrent_policy(MAZE_MEDIUM)
    fault(policy)
    with pytest.raises(ParityError, match=r"row \d+ at batch \d, (signal motor_[xy]|state \d+): expected torch"):
        parity_of(graph, policy)


def test_a_state_without_effect_on_actions_is_compared_too() -> None:
    policy = recurrent_policy(MAZE_MEDIUM)
    with torch.no_grad():
        policy.last.weight[:, 5] = 0
        _of(policy, "weight_hh_l0")[:, 5] = 0
    graph = session(policy)
    with torch.no_grad():
        _of(policy, "bias_ih_l0")[5 + 32] += 0.01
    with pytest.raises(ParityError, match="state 5:"):
        parity_of(graph, policy)


def test_a_graph_that_mixes_the_rows_of_a_batch_is_refused() -> None:
    policy = recurrent_policy(MAZE_MEDIUM)
    model = recurrent_graph(policy)
    out = next(node for node in model.graph.node if list(node.output) == ["state_out"])
    out.output[0] = "own"
    model.graph.node.insert(
        list(model.graph.node).index(out) + 1,
        onnx.helper.make_node("CumSum", ["own", "axis0"], ["summed"]),
    )
    model.graph.node.insert(
        list(model.graph.node).index(out) + 2, onnx.helper.make_node("Clip", ["summed"], ["state_out"])
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int64), "axis0"))
    with pytest.raises(ParityError, match="at batch 3"):
        parity_of(open_session(model.SerializeToString(), "cpu", "graph"), policy)


def test_torch_and_the_graph_run_the_rows_as_one_sequence() -> None:
    policy = recurrent_policy(MAZE_MEDIUM)
    rows = rows_of(policy, recurrent_rows(MAZE_MEDIUM), Noise("none"))
    graph = session(policy)
    state, expected = policy.first_state(1), []
    with torch.no_grad():
        for row in torch.from_numpy(rows.observation):
            action, state = policy(row[None], state)
            expected.append(action[0].numpy())
    np.testing.assert_allclose(
        reference_of(policy, None, torch.float64)(rows.observation, rows.noise), expected, atol=1e-5
    )
    np.testing.assert_allclose(run_in_batches(graph, rows, 8), expected, atol=1e-5)
    assert run_sequences(graph, rows.observation[None]).shape == (1, len(rows), 2 + 16)
