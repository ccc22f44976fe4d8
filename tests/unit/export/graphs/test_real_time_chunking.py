"""Real-time chunking: the graph's gradient is autograd's, and without a previous chunk it is the plain flow."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from odeploy_export.graphs.real_time_chunking import continuable, real_time_chunk_graph
from odeploy_export.parity.check import run_in_batches
from odeploy_export.parity.chunks import golden_chunks, guided_reference
from odeploy_export.parity.rows import Rows
from odeploy_runtime.errors import ParityError, UsageError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.inference.previous_chunk import PreviousChunk, frozen_weights
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import SOLVERS, solver, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from tests.chunk_flow import chunk_flow
from tests.exports import checked, rows_of
from tests.policies import flow_policy, recorded

H, A, D = 6, 2, 12
NOISE = Noise("normal", (1, 1, D))
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def policy() -> FlowPolicy:
    made = chunk_flow(MAZE_MEDIUM, H)
    for parameter in made.velocity.parameters():
        parameter.mul_(0.5)
    return made


@pytest.fixture(scope="module")
def rows(policy: FlowPolicy) -> Rows:
    return rows_of(policy, recorded(MAZE_MEDIUM), NOISE)


def sampler(name: str = "euler", steps: int = 4) -> Sampler:
    return Sampler(name, steps, uniform_grid(steps))


def graph(policy: FlowPolicy, chosen: Sampler) -> onnx.ModelProto:
    return real_time_chunk_graph(policy, solver(chosen.solver), chosen.t_grid)


def answers(model: onnx.ModelProto, rows: Rows, previous: Floats, frozen: Floats) -> Floats:
    session = open_session(model.SerializeToString(), "cpu", "graph")
    feed = {"observation": rows.observation, "noise": rows.noise, "previous": previous, "frozen": frozen}
    (action,) = session.run(["action"], feed)
    return np.asarray(action)


def before(rows: Rows, played: int = 2, frozen: int = 2) -> tuple[Floats, Floats]:
    previous = np.random.default_rng(0).uniform(-0.5, 0.5, (len(rows), H, A)).astype(np.float32)
    return previous, np.tile(frozen_weights(H, frozen, played), (len(rows), 1))


@pytest.mark.parametrize("name", list(SOLVERS))
def test_the_graph_passes_the_parity_check_against_autograd(policy: FlowPolicy, rows: Rows, name: str) -> None:
    chosen = sampler(name)
    session = open_session(graph(policy, chosen).SerializeToString(), "cpu", "graph")
    assert 0 < checked(session, policy, chosen, rows, MAZE_MEDIUM.action, frozen=2).max_error < 1e-5


def test_a_clipped_observation_is_clipped_in_the_graph_too(policy: FlowPolicy, rows: Rows) -> None:
    clipped = FlowPolicy(replace(policy.config, clip=1.0))
    clipped.load_state_dict(policy.state_dict())
    chosen = sampler()
    session = open_session(graph(clipped, chosen).SerializeToString(), "cpu", "graph")
    assert checked(session, clipped.eval(), chosen, rows, MAZE_MEDIUM.action, frozen=2).max_error < 1e-5
    with pytest.raises(ParityError):
        checked(session, policy, chosen, rows, MAZE_MEDIUM.action, frozen=2)


def test_without_a_previous_chunk_the_graph_is_the_plain_sampler(policy: FlowPolicy, rows: Rows) -> None:
    chosen = sampler()
    session = open_session(graph(policy, chosen).SerializeToString(), "cpu", "graph")
    with torch.no_grad():
        noise = torch.from_numpy(rows.noise).flatten(1)
        plain = policy.sample(torch.from_numpy(rows.observation), noise, solver("euler"), chosen.t_grid)
    np.testing.assert_allclose(run_in_batches(session, rows, 8), plain.numpy(), atol=2e-6)


def test_the_frozen_prefix_is_exact_and_the_next_action_is_closer_to_the_previous_chunk(
    policy: FlowPolicy, rows: Rows
) -> None:
    previous, frozen = before(rows)
    model = graph(policy, sampler())
    guided, plain = answers(model, rows, previous, frozen), answers(model, rows, previous, 0 * frozen)
    np.testing.assert_array_equal(guided[:, :2], previous[:, :2])
    assert np.abs(guided[:, 2] - previous[:, 2]).mean() < 0.8 * np.abs(plain[:, 2] - previous[:, 2]).mean()


@pytest.mark.parametrize("weight", ["hidden.0.weight", "last.weight", "first.weight"])
def test_a_graph_with_a_wrong_gradient_is_refused(policy: FlowPolicy, rows: Rows, weight: str) -> None:
    chosen = sampler()
    model = graph(policy, chosen)
    (old,) = (w for w in model.graph.initializer if w.name == weight)
    model.graph.initializer.append(numpy_helper.from_array(1.01 * numpy_helper.to_array(old), "wrong"))
    backward = [n for n in model.graph.node if n.op_type == "Gemm" and n.input[1] == weight]
    transposed = weight != "last.weight"  # transposed in the forward pass, as stored in the backward pass
    backward = [n for n in backward if any(a.name == "transB" and a.i for a in n.attribute) == transposed]
    assert len(backward) == 4
    for node in backward:
        node.input[1] = "wrong"
    session = open_session(model.SerializeToString(), "cpu", "graph")
    nothing = Rows(rows.observation, rows.noise)
    assert np.isfinite(run_in_batches(session, nothing, 8)).all()
    with pytest.raises(ParityError, match="of the chunk"):
        checked(session, policy, chosen, rows, MAZE_MEDIUM.action, frozen=2)


def test_each_golden_chunk_continues_the_one_before(policy: FlowPolicy, rows: Rows) -> None:
    chosen, few = sampler(), slice(0, 3)
    observation, noise = rows.observation[few], rows.noise[few]
    chunks = golden_chunks(policy, chosen, observation, noise, frozen=2)
    assert [c.shape for c in chunks] == [(1, D)] * 3
    continuation = PreviousChunk()
    continuation.commit(0, 0, 0, chunks[0].reshape(H, A).astype(np.float32), 2)
    previous, frozen = continuation.before(0, 0, 1)
    expected = guided_reference(policy, chosen, torch.float32)(
        observation[1:2], noise[1:2], previous[None], frozen[None]
    )
    np.testing.assert_array_equal(chunks[1], expected)
    np.testing.assert_allclose(chunks[1].reshape(H, A)[:2], chunks[0].reshape(H, A)[1:3], atol=1e-6)


@pytest.mark.parametrize("frozen", [-1, H])
def test_frozen_actions_out_of_range_are_refused(policy: FlowPolicy, frozen: int) -> None:
    with pytest.raises(UsageError, match=f"0 to {H - 1} for a chunk of {H} actions"):
        continuable(policy, frozen)


def test_frozen_actions_need_chunks_of_an_unsquashed_policy(policy: FlowPolicy) -> None:
    squashed = FlowPolicy(replace(policy.config, squash=True))
    for other in (flow_policy(MAZE_MEDIUM), squashed):
        with pytest.raises(UsageError, match="--frozen"):
            continuable(other, 0)
    assert continuable(policy, 0) is policy
