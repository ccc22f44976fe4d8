"""The table of policy types, and how a policy is deployed."""

from typing import Any

from odeploy_export.graphs.real_time_chunking import continuable
from odeploy_export.kinds.best_of import BEST_OF_DIFFUSION, BEST_OF_N
from odeploy_export.kinds.deterministic import MLP, STUDENT
from odeploy_export.kinds.diffusion import DIFFUSION
from odeploy_export.kinds.external import EXTERNAL
from odeploy_export.kinds.flow import FLOW
from odeploy_export.kinds.kind import Deployment, Kind
from odeploy_export.kinds.real_time_chunking import REAL_TIME_CHUNKING
from odeploy_export.kinds.recurrent import RECURRENT
from odeploy_export.options import SamplerOptions
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.manifest import Manifest

KINDS: tuple[Kind, ...] = (
    FLOW,
    REAL_TIME_CHUNKING,
    BEST_OF_N,
    DIFFUSION,
    BEST_OF_DIFFUSION,
    STUDENT,
    MLP,
    RECURRENT,
    EXTERNAL,
)

_NEEDS = {
    "solver": "a flow policy",
    "t_grid": "a flow policy",
    "steps": "a flow or diffusion policy",
    "noise": "a flow or diffusion policy",
    "candidates": "a policy with critics",
}
"""Sampler option -> policies that have it, for messages."""


def kind_of(policy: Any, frozen: int | None = None) -> Kind:
    """Return the type of a policy.

    Raises:
        UsageError: frozen actions for a policy without chunks.
        TypeError: no row for it.
    """
    if frozen is not None:
        continuable(policy, frozen)
    for kind in KINDS:
        if isinstance(policy, kind.policy) and kind.freezes == (frozen is not None):
            return kind
    raise TypeError(f"no policy type for {type(policy).__name__}")


def deployed(policy: Any, options: SamplerOptions, action_size: int, frozen: int | None = None) -> Deployment:
    """Return a policy with its sampler, as one file holds it.

    Args:
        policy: of one of the types.
        options: sampler options.
        action_size: A.
        frozen: d, first actions of a chunk to keep from the previous one; None for no real-time chunking.

    Raises:
        UsageError: an option that this type does not have, or a value out of range.
    """
    kind = kind_of(policy)
    for name, needs in _NEEDS.items():
        if getattr(options, name) is not None and name not in kind.options:
            raise UsageError(
                where=f"--{name.replace('_', '-')}",
                expected=needs,
                got=f"one of type {kind.name}",
                remedy="leave the option out",
            )
    sampler, noise = kind.sampling(policy, options, action_size)
    if noise.shape[0] == 1:
        policy = kind.single(policy)
    return Deployment(kind_of(policy, frozen), policy, sampler, noise, frozen)


def deployed_as(policy: Any, manifest: Manifest) -> Deployment:
    """Return a policy with the sampler of a file that exists."""
    if manifest.noise.shape[0] == 1:
        policy = kind_of(policy).single(policy)
    kind = kind_of(policy, manifest.frozen)
    return Deployment(kind, policy, manifest.sampler, manifest.noise, manifest.frozen)
