"""Policies of one pass without noise: students and MLPs."""

import copy
from collections.abc import Iterator
from operator import attrgetter

import torch

from odeploy_export.graphs.mlp import MlpGraph, StudentGraph
from odeploy_export.kinds.faults import without_limits, without_normaliser
from odeploy_export.kinds.kind import Deployment, Fault, Kind, traced
from odeploy_export.parity.check import Reference
from odeploy_export.parity.deviation import Numbers
from odeploy_export.parity.rows import Array
from odeploy_train.policies.mlp import MlpPolicy
from odeploy_train.policies.student import StudentPolicy


def one_pass_reference(deployment: Deployment, dtype: torch.dtype) -> Reference:
    """Return a policy of raw observations (B, O) to actions (B, D)."""
    policy = copy.deepcopy(deployment.policy).to(dtype).eval()

    @torch.no_grad()
    def act(observation: Array, _noise: Array) -> Numbers:
        action: Numbers = policy(torch.from_numpy(observation).to(dtype)).double().numpy()
        return action

    return act


def _mlp_faults(deployment: Deployment) -> Iterator[Fault]:
    yield from without_normaliser(deployment)
    if not deployment.policy.config.squash:
        yield from without_limits(deployment)


STUDENT = Kind(
    name="student",
    policy=StudentPolicy,
    manifest="mlp",
    graph=lambda deployment: traced(StudentGraph(deployment.policy), deployment),
    reference=one_pass_reference,
    faults=without_normaliser,
)
MLP = Kind(
    name="MLP",
    policy=MlpPolicy,
    manifest="mlp",
    graph=lambda deployment: traced(MlpGraph(deployment.policy), deployment),
    reference=one_pass_reference,
    faults=_mlp_faults,
    horizon=attrgetter("config.horizon"),
    clip=attrgetter("clip"),
)
