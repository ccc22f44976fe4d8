"""Recurrent policies, whose state is carried from tick to tick.

So the rows of a check are one sequence from a zero state.
"""

from operator import attrgetter

import onnxruntime as ort
import torch

from odeploy_export.graphs.recurrent import recurrent_graph
from odeploy_export.kinds.faults import without_normaliser
from odeploy_export.kinds.kind import Deployment, Kind
from odeploy_export.parity.check import BATCHES, Reference
from odeploy_export.parity.deviation import Allowed, Numbers
from odeploy_export.parity.rows import Array, Rows
from odeploy_export.parity.sequences import check_sequences, played
from odeploy_runtime.policy_file.manifest import Parity
from odeploy_train.policies.recurrent import RecurrentPolicy


def _reference(deployment: Deployment, dtype: torch.dtype) -> Reference:
    policy: RecurrentPolicy = deployment.policy

    def act(observation: Array, _noise: Array) -> Numbers:
        return played(policy, observation[None], dtype)[0, :, : policy.config.action_size]

    return act


def _check(session: ort.InferenceSession, deployment: Deployment, rows: Rows, allowed: Allowed) -> Parity:
    return check_sequences(session, deployment.policy, rows.observation, BATCHES, allowed)


RECURRENT = Kind(
    name="recurrent",
    policy=RecurrentPolicy,
    manifest="recurrent",
    graph=lambda deployment: recurrent_graph(deployment.policy),
    reference=_reference,
    check=_check,
    faults=without_normaliser,
    state_size=attrgetter("config.state_size"),
    consecutive=True,
)
