"""The manifest of an exported policy."""

from collections.abc import Iterable

from odeploy_export.graphs.rewrites import Precision
from odeploy_export.kinds.kind import Deployment
from odeploy_export.parity.rows import Rows
from odeploy_export.sources.source import Source
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, Manifest, Parity
from odeploy_runtime.signals import task_digest

ACTION_SEMANTICS = "absolute command in each signal's unit, clipped to its limits"


def manifest_of(
    source: Source,
    deployment: Deployment,
    rows: Rows,
    parity: Iterable[Parity],
    *,
    name: str | None,
    precision: Precision,
    actuation: Actuation | None,
) -> Manifest:
    """Describe a policy that has passed its parity check.

    Args:
        source: where it comes from.
        deployment: policy and sampler.
        rows: inputs of the parity check, for the golden rows.
        parity: one result per execution provider.
        name: of the policy; None for the source's.
        precision: of weights and products.
        actuation: low-level control of the robot.
    """
    task, kind = source.task, deployment.kind
    raw = task.observation if source.recipe is None else source.recipe.raw
    return Manifest(
        version=MANIFEST_VERSION,
        name=name or source.name,
        method=source.method,
        kind=kind.manifest,
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=kind.horizon(deployment.policy),
        observation=task.observation,
        action=task.action,
        action_semantics=ACTION_SEMANTICS,
        noise=deployment.noise,
        sampler=deployment.sampler,
        parity=tuple(parity),
        golden=kind.golden(deployment, rows),
        provenance=source.provenance | ({} if precision == "f32" else {"precision": precision}),
        state_size=kind.state_size(deployment.policy),
        actuation=actuation,
        recipe=source.recipe,
        frozen=deployment.frozen,
        observed=_ranges(source),
        task_digest=task_digest(raw, task.action, task.rate_hz, task.horizon),
    )


def _ranges(source: Source) -> tuple[tuple[float, float], ...]:
    """Return O pairs: minimum and maximum of each signal in the recorded observations.

    A signal that the operator sets also has its limits: a few episodes draw a few of its numbers.
    """
    ranges = list(zip(source.recorded.min(0).tolist(), source.recorded.max(0).tolist(), strict=True))
    if source.recipe is not None:
        commanded = [signal.name in source.recipe.command for signal in source.recipe.raw]
        for i, (column, _) in enumerate(source.recipe.picks(len(source.task.action))):
            limits = source.task.observation[i]
            if column < len(commanded) and commanded[column] and None not in (limits.low, limits.high):
                low, high = ranges[i]
                ranges[i] = min(low, limits.low), max(high, limits.high)
    return tuple(ranges)
