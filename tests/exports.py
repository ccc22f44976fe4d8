"""Short forms for tests: export a policy, and check a graph against it."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from odeploy_export.graphs.best_of_n import BestOfNGraph
from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.kinds.check import faults_of
from odeploy_export.kinds.kind import Deployment
from odeploy_export.kinds.table import kind_of
from odeploy_export.options import ParityOptions, SamplerOptions
from odeploy_export.parity.check import Reference
from odeploy_export.parity.deviation import ROUNDING, TOLERANCE, allowed_actions
from odeploy_export.parity.diagnosis import diagnose, explained
from odeploy_export.parity.rows import Array, Rows, Spread, check_rows
from odeploy_export.pipeline import export_policy
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Manifest, Noise, Parity, Sampler
from odeploy_runtime.signals import Signal
from odeploy_train.modules.ode import Tableau
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN


def export(source: Source, out: Path, **options: Any) -> Manifest:
    """Export a policy; sampler, parity check and pipeline share one list of options."""
    sampler, parity = (
        {f.name: options.pop(f.name) for f in fields(record) if f.name in options}
        for record in (SamplerOptions, ParityOptions)
    )
    return export_policy(source, out, SamplerOptions(**sampler), ParityOptions(**parity), **options)


def deployment(policy: Any, sampler: Sampler | None, frozen: int | None = None) -> Deployment:
    """Return a policy with a sampler; a check does not use the noise contract."""
    return Deployment(kind_of(policy, frozen), policy, sampler, Noise("none"), frozen)


def rows_of(policy: Any, recorded: Array, noise: Noise) -> Rows:
    """Return the inputs of a policy's parity check."""
    return check_rows(Spread.of(policy), recorded, noise)


def checked(
    session: ort.InferenceSession,
    policy: Any,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
    where: str = "graph",
    *,
    rounding: float = ROUNDING,
    frozen: int | None = None,
) -> Parity:
    """Check a graph against a policy, without a diagnosis."""
    d = deployment(policy, sampler, frozen)
    allowed = allowed_actions(actions, d.kind.horizon(policy), where, TOLERANCE, rounding)
    return d.kind.check(session, d, rows, allowed)


def reference_of(policy: Any, sampler: Sampler | None, dtype: torch.dtype) -> Reference:
    """Return the policy as a function of (observation, noise)."""
    return deployment(policy, sampler).reference(dtype)


def diagnosed(
    session: ort.InferenceSession, policy: Any, sampler: Sampler | None, rows: Rows, actions: tuple[Signal, ...]
) -> str | None:
    """Return the fault that the diagnosis names."""
    d = deployment(policy, sampler)
    return diagnose(session, d.reference(torch.float64), faults_of(d), rows, actions)


def explanation(
    error: ParityError,
    session: ort.InferenceSession,
    policy: Any,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
) -> ParityError:
    """Return the error with the fault that the diagnosis names."""
    d = deployment(policy, sampler)
    return explained(error, session, d.reference(torch.float64), faults_of(d), rows, actions)


def best_of_n_graph(policy: BestOfN, tableau: Tableau, t_grid: Sequence[float], candidates: int) -> BestOfNGraph:
    """Return the graph of a flow with critics."""
    return BestOfNGraph(policy, SplitFlow(policy.flow, tableau, t_grid), candidates)


def best_of_diffusion_graph(policy: BestOfDiffusion, t_grid: Sequence[float], candidates: int) -> BestOfNGraph:
    """Return the graph of a diffusion policy with critics."""
    return BestOfNGraph(policy, UnrolledDiffusion(policy.diffusion, t_grid), candidates)
