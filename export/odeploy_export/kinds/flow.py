"""Flow policies: noise is integrated along a learned velocity field."""

import copy
from collections.abc import Iterator
from operator import attrgetter

import onnx
import torch

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.kinds.faults import other_flow, without_limits, without_normaliser, without_scale
from odeploy_export.kinds.kind import Deployment, Fault, Kind, traced
from odeploy_export.kinds.sampling import flow_sampling
from odeploy_export.options import SamplerOptions
from odeploy_export.parity.check import Reference
from odeploy_export.parity.deviation import Allowed, Numbers
from odeploy_export.parity.rows import Array, Rows
from odeploy_export.parity.solver_steps import check_steps
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_train.modules.ode import SOLVERS
from odeploy_train.policies.flow import FlowPolicy

OPTIONS = ("solver", "steps", "t_grid", "noise")


def sampling(policy: FlowPolicy, options: SamplerOptions, _action_size: int) -> tuple[Sampler, Noise]:
    """Choose the sampler of a flow."""
    return flow_sampling(options, policy.config.chunk_size)


def reference(deployment: Deployment, dtype: torch.dtype) -> Reference:
    """Return the flow, sampled by its solver."""
    policy = copy.deepcopy(deployment.policy).to(dtype).eval()
    tableau, t_grid = deployment.tableau, deployment.required_sampler.t_grid

    @torch.no_grad()
    def act(observation: Array, noise: Array) -> Numbers:
        o, draws = torch.from_numpy(observation).to(dtype), torch.from_numpy(noise).to(dtype)
        action: Numbers = policy.sample(o, draws[:, 0, 0], tableau, t_grid).double().numpy()
        return action

    return act


def faults(deployment: Deployment) -> Iterator[Fault]:
    """Yield the faults of a flow."""
    yield from without_normaliser(deployment)
    yield from other_flow(deployment)
    yield from without_scale(deployment)
    if not deployment.policy.config.squash:
        yield from without_limits(deployment)


def _graph(deployment: Deployment) -> onnx.ModelProto:
    t_grid = deployment.required_sampler.t_grid
    return traced(SplitFlow(deployment.policy, deployment.tableau, t_grid), deployment)


def _check_steps(
    model: onnx.ModelProto, deployment: Deployment, rows: Rows, allowed: Allowed, provider: str
) -> object:
    return check_steps(model, deployment.policy, deployment.required_sampler, rows, allowed, provider)


FLOW = Kind(
    name="flow",
    policy=FlowPolicy,
    manifest="flow",
    graph=_graph,
    reference=reference,
    options=OPTIONS,
    sampling=sampling,
    check_steps=_check_steps,
    faults=faults,
    horizon=attrgetter("config.horizon"),
    clip=attrgetter("clip"),
    published=(
        *(SamplerOptions(solver=name, noise=noise) for name in SOLVERS for noise in ("zero", "normal")),
        *(SamplerOptions(steps=steps) for steps in (1, 100)),
    ),
)
