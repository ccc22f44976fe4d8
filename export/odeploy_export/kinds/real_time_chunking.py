"""Flow policies whose chunks continue the previous one."""

from operator import attrgetter

import onnx
import onnxruntime as ort

from odeploy_export.graphs.real_time_chunking import real_time_chunk_graph
from odeploy_export.kinds.flow import OPTIONS, faults, reference, sampling
from odeploy_export.kinds.kind import Deployment, Kind
from odeploy_export.parity.chunks import check_continuations, golden_chunks
from odeploy_export.parity.deviation import Allowed
from odeploy_export.parity.rows import Rows, golden_picks, golden_rows
from odeploy_runtime.policy_file.manifest import GoldenRow, Parity
from odeploy_train.policies.flow import FlowPolicy


def _graph(deployment: Deployment) -> onnx.ModelProto:
    return real_time_chunk_graph(deployment.policy, deployment.tableau, deployment.required_sampler.t_grid)


def _check(session: ort.InferenceSession, deployment: Deployment, rows: Rows, allowed: Allowed) -> Parity:
    return check_continuations(session, deployment.policy, deployment.required_sampler, rows, allowed)


def _golden(deployment: Deployment, rows: Rows) -> tuple[GoldenRow, ...]:
    picks, frozen = golden_picks(), deployment.frozen
    assert frozen is not None
    observation, noise = rows.observation[picks], rows.noise[picks]
    chunks = golden_chunks(deployment.policy, deployment.required_sampler, observation, noise, frozen)
    return golden_rows(rows, picks, chunks)


REAL_TIME_CHUNKING = Kind(
    name="flow with real-time chunking",
    policy=FlowPolicy,
    manifest="flow",
    graph=_graph,
    reference=reference,
    options=OPTIONS,
    sampling=sampling,
    check=_check,
    golden=_golden,
    faults=faults,
    horizon=attrgetter("config.horizon"),
    clip=attrgetter("clip"),
    freezes=True,
    published=(),
)
