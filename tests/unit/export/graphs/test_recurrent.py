"""The recurrent graph against torch's GRU cell, and its state in the runtime."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from odeploy_export.graphs.recurrent import recurrent_graph
from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy, open_session
from odeploy_runtime.policy_file.file import PolicyFile, parse
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from tests.recurrent import policy_bytes, recurrent_policy, recurrent_rows

NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


@pytest.fixture(scope="module")
def data() -> bytes:
    return policy_bytes()


@pytest.fixture
def policy(data: bytes) -> OnnxPolicy:
    return OnnxPolicy(parse(Path("recurrent.onnx"), data))


@pytest.mark.parametrize("task", [MAZE_MEDIUM, HOPPER], ids=lambda t: t.name)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_tick_is_torchs_gru_cell_after_the_normaliser(task: Task, batch: int) -> None:
    policy = recurrent_policy(task)
    observation = torch.from_numpy(recurrent_rows(task)[:batch])
    state = torch.rand(batch, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    cell = nn.GRUCell(len(task.observation), 16)
    with torch.no_grad():
        for ours, theirs in zip(cell.parameters(), policy.gru.parameters(), strict=True):
            ours.copy_(theirs)
        following = cell((observation - policy.observation_mean) / policy.observation_std, state)
        expected = torch.tanh(following @ policy.last.weight.T + policy.last.bias)
    session = open_session(recurrent_graph(policy).SerializeToString(), "cpu", "graph")
    feed = {"observation": observation.numpy(), "state_in": state.numpy()}
    action, state_out = session.run(["action", "state_out"], feed)
    assert action.shape == (batch, 1, len(task.action))
    np.testing.assert_allclose(state_out, following.numpy(), atol=3e-6)
    np.testing.assert_allclose(action[:, 0], expected.numpy(), atol=3e-6)


def test_actions_span_uneven_limits_and_keep_them_exactly() -> None:
    policy = recurrent_policy(MAZE_MEDIUM)
    policy.low, policy.high = torch.tensor([-2.3, -0.7]), torch.tensor([0.7, 0.1])
    observation, state = recurrent_rows(MAZE_MEDIUM), np.zeros((32, 16), np.float32)
    feed = {"observation": observation, "state_in": state}
    action = open_session(recurrent_graph(policy).SerializeToString(), "cpu", "graph").run(["action"], feed)[0]
    with torch.no_grad():
        expected, _ = policy(torch.from_numpy(observation), torch.from_numpy(state))
        np.testing.assert_allclose(action[:, 0], expected.numpy(), atol=1e-5)
        policy.last.weight.mul_(1e4)
    action = open_session(recurrent_graph(policy).SerializeToString(), "cpu", "graph").run(["action"], feed)[0]
    low, high = policy.low.numpy(), policy.high.numpy()
    assert ((action[:, 0] == low) | (action[:, 0] == high)).any(axis=0).all()
    assert ((action[:, 0] >= low) & (action[:, 0] <= high)).all()


def test_a_policy_always_gives_the_same_bytes() -> None:
    first, again = (recurrent_graph(recurrent_policy(MAZE_MEDIUM)).SerializeToString() for _ in "ab")
    assert first == again


def test_a_loaded_file_continues_from_its_state_and_reset_clears_it(policy: OnnxPolicy) -> None:
    rows = recurrent_rows(MAZE_MEDIUM)
    assert not policy.state.any()
    first = [policy.infer(row, NO_NOISE).copy() for row in rows]
    assert policy.state.any()
    assert not np.array_equal(first[1], policy.infer(rows[1], NO_NOISE))
    policy.reset()
    again = [policy.infer(row, NO_NOISE).copy() for row in rows]
    assert np.array_equal(first, again)


def test_inference_continues_from_a_restored_state(policy: OnnxPolicy) -> None:
    rows = recurrent_rows(MAZE_MEDIUM)
    policy.infer(rows[0], NO_NOISE)
    kept = policy.state.copy()
    second = policy.infer(rows[1], NO_NOISE).copy()
    policy.state[:] = kept
    assert np.array_equal(policy.infer(rows[1], NO_NOISE), second)


def test_a_touch_does_not_change_the_state_or_the_next_action(policy: OnnxPolicy) -> None:
    rows = recurrent_rows(MAZE_MEDIUM)
    answers = []
    for touches in (0, 3):
        policy.reset()
        policy.infer(rows[0], NO_NOISE)
        before = policy.state.copy()
        for _ in range(touches):
            policy.touch()
        assert np.array_equal(policy.state, before)
        answers.append(policy.infer(rows[1], NO_NOISE).copy())
    assert np.array_equal(answers[0], answers[1])


def test_golden_rows_are_one_sequence_and_detect_a_wrong_or_late_state(data: bytes) -> None:
    sound = parse(Path("recurrent.onnx"), data)
    model = onnx.load_from_string(data)
    kept = next(node for node in model.graph.node if list(node.output) == ["kept"])
    kept.input[0] = "r"  # the GRU's other gate, which changes even the first tick, from a zero state
    broken = PolicyFile(sound.path, sound.manifest, sound.fingerprint, model.SerializeToString())
    with pytest.raises(PolicyFileError, match="golden row"):
        OnnxPolicy(broken)
    late = sound.manifest.golden[1:]
    with pytest.raises(PolicyFileError, match="golden row 0"):
        OnnxPolicy(
            PolicyFile(sound.path, dataclasses.replace(sound.manifest, golden=late), sound.fingerprint, data)
        )


def test_a_file_whose_manifest_declares_no_state_is_refused(data: bytes) -> None:
    sound = parse(Path("recurrent.onnx"), data)
    stateless = dataclasses.replace(sound.manifest, kind="mlp", state_size=0)
    with pytest.raises(PolicyFileError, match="state_in"):
        OnnxPolicy(PolicyFile(sound.path, stateless, sound.fingerprint, data))
