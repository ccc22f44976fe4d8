"""The parity check of a deployment on one session, with a diagnosis."""

import onnxruntime as ort
import torch

from odeploy_export.kinds.kind import Deployment
from odeploy_export.parity.deviation import Allowed
from odeploy_export.parity.diagnosis import Faults, explained
from odeploy_export.parity.rows import Rows
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Parity
from odeploy_runtime.signals import Signal


def check_parity(
    session: ort.InferenceSession,
    deployment: Deployment,
    rows: Rows,
    actions: tuple[Signal, ...],
    allowed: Allowed,
) -> Parity:
    """Compare a graph with the policy.

    Args:
        session: of the graph.
        deployment: policy and sampler.
        rows: inputs.
        actions: signals of one action.
        allowed: scale, names and tolerance of the actions.

    Raises:
        ParityError: a deviation beyond the tolerance, with the fault that explains it, if one is known.
    """
    try:
        return deployment.kind.check(session, deployment, rows, allowed)
    except ParityError as error:
        if deployment.kind.faults is None:
            raise
        exact = deployment.reference(torch.float64)
        raise explained(error, session, exact, faults_of(deployment), rows, actions) from None


def faults_of(deployment: Deployment) -> Faults:
    """Yield the policy with each known fault of its type, in float64."""
    if deployment.kind.faults is not None:
        for what, changed in deployment.kind.faults(deployment):
            yield what, changed.reference(torch.float64)
