"""A small recurrent policy for tests, and its file, without a training run."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from odeploy_export.graphs.recurrent import recurrent_graph
from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, GoldenRow, Manifest, Noise
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.recurrent import RecurrentConfig, RecurrentPolicy
from tests.exports import checked, reference_of, rows_of
from tests.policies import recorded

STATE_SIZE = 16


def recurrent_policy(task: Task, scale: float = 4.0, seed: int = 0) -> RecurrentPolicy:
    """Return a policy with `scale` times the initial weights and an uneven normaliser."""
    policy = RecurrentPolicy(RecurrentConfig(len(task.observation), len(task.action), STATE_SIZE))
    policy.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(scale)
    policy.fit(torch.from_numpy(recorded(task, 256)), task.action)
    return policy.eval()


def recurrent_rows(task: Task) -> NDArray[np.float32]:
    """Return a sequence of observations. Shape (32, O)."""
    return recorded(task)


@functools.cache
def policy_bytes() -> bytes:
    """Return a sealed file of `recurrent_policy(MAZE_MEDIUM)` with a parity check."""
    task, policy = MAZE_MEDIUM, recurrent_policy(MAZE_MEDIUM)
    model, rows = recurrent_graph(policy), rows_of(policy, recurrent_rows(task), Noise("none"))
    parity = checked(
        open_session(model.SerializeToString(), "cpu", "test"), policy, None, rows, task.action, "test"
    )
    seen = rows.observation[:4]
    actions = reference_of(policy, None, torch.float32)(seen, rows.noise[:4])
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name="test-recurrent",
        method="gru-bc",
        kind="recurrent",
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=1,
        observation=task.observation,
        action=task.action,
        action_semantics="test",
        noise=Noise("none"),
        sampler=None,
        parity=(parity,),
        golden=tuple(
            GoldenRow(tuple(map(float, o)), (), tuple(map(float, a))) for o, a in zip(seen, actions, strict=True)
        ),
        provenance={},
        state_size=STATE_SIZE,
    )
    return to_bytes(model, manifest)
