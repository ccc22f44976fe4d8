"""Diffusion policies: noise becomes an action by ancestral sampling."""

import copy
from collections.abc import Iterator
from operator import attrgetter

import onnx
import torch

from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.kinds.faults import without_limits, without_normaliser, without_scale
from odeploy_export.kinds.kind import Deployment, Fault, Kind, traced
from odeploy_export.kinds.sampling import ancestral_sampling
from odeploy_export.options import SamplerOptions
from odeploy_export.parity.check import Reference
from odeploy_export.parity.deviation import Numbers
from odeploy_export.parity.rows import Array
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_train.policies.diffusion import DiffusionPolicy


def _sampling(policy: DiffusionPolicy, options: SamplerOptions, action_size: int) -> tuple[Sampler, Noise]:
    return ancestral_sampling(options, policy.levels, action_size)


def _graph(deployment: Deployment) -> onnx.ModelProto:
    return traced(UnrolledDiffusion(deployment.policy, deployment.required_sampler.t_grid), deployment)


def _reference(deployment: Deployment, dtype: torch.dtype) -> Reference:
    policy = copy.deepcopy(deployment.policy).to(dtype).eval()
    t_grid = deployment.required_sampler.t_grid

    @torch.no_grad()
    def act(observation: Array, noise: Array) -> Numbers:
        o, draws = torch.from_numpy(observation).to(dtype), torch.from_numpy(noise).to(dtype)
        action: Numbers = policy.sample(o, draws[:, 0], t_grid).double().numpy()
        return action

    return act


def _faults(deployment: Deployment) -> Iterator[Fault]:
    yield from without_normaliser(deployment)
    yield from without_scale(deployment)
    yield from without_limits(deployment)


DIFFUSION = Kind(
    name="diffusion",
    policy=DiffusionPolicy,
    manifest="diffusion",
    graph=_graph,
    reference=_reference,
    options=("steps", "noise"),
    sampling=_sampling,
    faults=_faults,
    clip=attrgetter("clip"),
    published=tuple(
        SamplerOptions(steps=steps, noise=noise) for steps in (20, 100) for noise in ("zero", "normal")
    ),
)
