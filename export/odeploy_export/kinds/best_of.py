"""Policies with critics: of several sampled actions the critics choose the best."""

import copy
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor

from odeploy_export.graphs.best_of_n import OUTPUTS, BestOfNGraph
from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.kinds.faults import without_normaliser
from odeploy_export.kinds.kind import Deployment, Kind, traced
from odeploy_export.kinds.sampling import ancestral_sampling, candidates_of, flow_sampling
from odeploy_export.options import SamplerOptions
from odeploy_export.parity.candidates import Proposals, check_candidates
from odeploy_export.parity.check import Reference
from odeploy_export.parity.deviation import Allowed, Numbers
from odeploy_export.parity.rows import RECORDED_ROWS, Array, Rows, golden_picks, golden_rows
from odeploy_export.parity.solver_steps import check_steps
from odeploy_runtime.policy_file.manifest import GoldenRow, Noise, Parity, Sampler
from odeploy_train.modules.ode import SOLVERS
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import DEPLOYED_CANDIDATES, BestOfN

Draws = Callable[[Deployment, Tensor], tuple[Any, ...]]
"""(deployment, noise (B, N, S, D)) -> arguments of the policy's `propose` after the observation."""


def _flow_draws(deployment: Deployment, noise: Tensor) -> tuple[Any, ...]:
    return noise[:, :, 0], deployment.tableau, deployment.required_sampler.t_grid


def _diffusion_draws(deployment: Deployment, noise: Tensor) -> tuple[Any, ...]:
    return noise, deployment.required_sampler.t_grid


@torch.no_grad()
def proposals(deployment: Deployment, rows: Rows, dtype: torch.dtype, draws: Draws) -> Proposals:
    """Return all candidates and their values, computed in `dtype`."""
    policy = copy.deepcopy(deployment.policy).to(dtype).eval()
    observation, noise = (torch.from_numpy(values).to(dtype) for values in (rows.observation, rows.noise))
    actions, values = policy.propose(observation, *draws(deployment, noise))
    return Proposals(actions.double().numpy(), values.double().numpy())


def _reference(deployment: Deployment, dtype: torch.dtype, draws: Draws) -> Reference:
    policy = copy.deepcopy(deployment.policy).to(dtype).eval()

    @torch.no_grad()
    def act(observation: Array, noise: Array) -> Numbers:
        o, given = torch.from_numpy(observation).to(dtype), torch.from_numpy(noise).to(dtype)
        action: Numbers = policy.sample(o, *draws(deployment, given)).action.double().numpy()
        return action

    return act


def _check(
    session: ort.InferenceSession, deployment: Deployment, rows: Rows, allowed: Allowed, draws: Draws
) -> Parity:
    references = [proposals(deployment, rows, dtype, draws) for dtype in (torch.float64, torch.float32)]
    return check_candidates(session, references, rows, allowed)


def _golden(deployment: Deployment, rows: Rows, draws: Draws) -> tuple[GoldenRow, ...]:
    """Rows in which the best is best by most, so that no rounding can choose another."""
    exact = proposals(deployment, rows, torch.float64, draws).values
    values = np.sort(exact[:RECORDED_ROWS], axis=1)
    picks = golden_picks(np.argsort(values[:, -2] - values[:, -1]))
    act = deployment.reference(torch.float32)
    return golden_rows(rows, picks, act(rows.observation[picks], rows.noise[picks]))


def _sample_flow(policy: BestOfN, options: SamplerOptions, _action_size: int) -> tuple[Sampler, Noise]:
    candidates = candidates_of(options, DEPLOYED_CANDIDATES)
    return flow_sampling(options, policy.flow.config.chunk_size, candidates)


def _sample_diffusion(policy: BestOfDiffusion, options: SamplerOptions, action_size: int) -> tuple[Sampler, Noise]:
    return ancestral_sampling(options, policy.proposer.levels, action_size, candidates_of(options, 1))


def _flow_graph(deployment: Deployment) -> onnx.ModelProto:
    sampler, policy = deployment.required_sampler, deployment.policy
    proposer = SplitFlow(policy.flow, deployment.tableau, sampler.t_grid)
    return traced(BestOfNGraph(policy, proposer, sampler.candidates), deployment, OUTPUTS)


def _diffusion_graph(deployment: Deployment) -> onnx.ModelProto:
    sampler, policy = deployment.required_sampler, deployment.policy
    proposer = UnrolledDiffusion(policy.proposer, sampler.t_grid)
    return traced(BestOfNGraph(policy, proposer, sampler.candidates), deployment, OUTPUTS)


def _check_steps(
    model: onnx.ModelProto, deployment: Deployment, rows: Rows, allowed: Allowed, provider: str
) -> object:
    return check_steps(model, deployment.policy.flow, deployment.required_sampler, rows, allowed, provider)


BEST_OF_N = Kind(
    name="best of N",
    policy=BestOfN,
    manifest="flow",
    graph=_flow_graph,
    reference=partial(_reference, draws=_flow_draws),
    options=("solver", "steps", "t_grid", "candidates", "noise"),
    sampling=_sample_flow,
    check=partial(_check, draws=_flow_draws),
    check_steps=_check_steps,
    golden=partial(_golden, draws=_flow_draws),
    faults=without_normaliser,
    horizon=attrgetter("config.flow.horizon"),
    clip=attrgetter("clip"),
    single=attrgetter("proposer"),
    published=(
        SamplerOptions(candidates=1, noise="zero"),
        *(SamplerOptions(solver=name, candidates=16) for name in SOLVERS),
    ),
)
BEST_OF_DIFFUSION = Kind(
    name="best of N by diffusion",
    policy=BestOfDiffusion,
    manifest="diffusion",
    graph=_diffusion_graph,
    reference=partial(_reference, draws=_diffusion_draws),
    options=("steps", "candidates", "noise"),
    sampling=_sample_diffusion,
    check=partial(_check, draws=_diffusion_draws),
    golden=partial(_golden, draws=_diffusion_draws),
    faults=without_normaliser,
    clip=attrgetter("clip"),
    single=attrgetter("proposer"),
    published=(
        *(SamplerOptions(candidates=1, noise=noise) for noise in ("zero", "normal")),
        SamplerOptions(steps=20, candidates=32),
    ),
)
