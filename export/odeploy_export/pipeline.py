"""The export pipeline: graph, parity check, manifest, and only then the file."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import nn

from odeploy_export.graphs.rewrites import in_precision
from odeploy_export.graphs.tracing import to_bytes
from odeploy_export.kinds.check import check_parity
from odeploy_export.kinds.kind import Deployment
from odeploy_export.kinds.table import deployed
from odeploy_export.manifest import manifest_of
from odeploy_export.options import ParityOptions, ReadingOptions, SamplerOptions
from odeploy_export.parity.closed_loop import compare
from odeploy_export.parity.deviation import Allowed, allowed_actions
from odeploy_export.parity.rows import Array, Rows, check_rows, edges_beyond, picked
from odeploy_export.sources.external import from_external
from odeploy_export.sources.runs import from_run, from_sb3
from odeploy_export.sources.source import Source
from odeploy_export.sources.torch_module import from_module
from odeploy_export.toml_files import actuation_for, prepared
from odeploy_export.writer import write_policy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy, open_session
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.policy_file.manifest import Manifest, Parity
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import encode
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task

CLOSED_LOOP = "closed_loop"  # in the provenance


def export_policy(
    source: Source,
    out: Path,
    sampler: SamplerOptions = SamplerOptions(),
    parity: ParityOptions = ParityOptions(),
    *,
    name: str | None = None,
    frozen: int | None = None,
    actuation: Actuation | None = None,
    sign: Path | None = None,
) -> Manifest:
    """Write a policy file, if its graph computes what the policy computes.

    Args:
        source: the policy; its recorded observations are the first rows of the parity check.
        out: file to write.
        sampler: how a generative policy gets from noise to action.
        parity: requirements of the parity check.
        name: of the policy; None for the source's.
        frozen: d, first actions of a chunk to keep from the previous one; None for no real-time chunking.
        actuation: low-level control of the robot; None for that of the task's own robot.
        sign: secret key to sign the file with.

    Raises:
        ParityError: the graph computes something else; nothing was written.
        UsageError: an option that this type of policy does not have.
    """
    task = source.task
    deployment = deployed(source.policy, sampler, len(task.action), frozen)
    kind = deployment.kind
    recorded = picked(source.recorded, kind.consecutive)
    model = in_precision(kind.graph(deployment), parity.precision)
    edges = edges_beyond(kind.clip(deployment.policy))
    rows = check_rows(deployment.spread, recorded, deployment.noise, edge_stds=edges)
    horizon = kind.horizon(deployment.policy)
    allowed = allowed_actions(task.action, horizon, str(out), parity.allowed, parity.rounding)
    manifest = manifest_of(
        source,
        deployment,
        rows,
        [_check(model, deployment, rows, task.action, allowed, provider) for provider in parity.provider],
        name=name,
        precision=parity.precision,
        actuation=actuation or actuation_for(task, None),
    )
    if parity.closed_loop:
        file = OnnxPolicy(parse(out, to_bytes(model, manifest)), parity.provider[0])
        agreement = compare(deployment.reference(torch.float32), file, task, parity.closed_loop)
        manifest = replace(manifest, provenance=manifest.provenance | {CLOSED_LOOP: encode(agreement)})
    write_policy(model, manifest, out, sign)
    return manifest


def export_run(
    run: str | Path,
    out: str | Path,
    *,
    task: Task | str | None = None,
    demos: str | Path | None = None,
    last: bool = False,
    name: str | None = None,
    sampler: SamplerOptions = SamplerOptions(),
    parity: ParityOptions = ParityOptions(),
    frozen: int | None = None,
    actuation: Actuation | None = None,
    sign: Path | None = None,
) -> Manifest:
    """Write the policy of a training run as a policy file, if torch and ONNX agree.

    Args:
        run: folder of the run.
        out: file to write.
        task: the run's task, if it is not catalogued.
        demos: dataset of observations for the parity check; None for the run's own.
        last: whether to export the last policy of a run that keeps the best one.
        name: for the manifest; default: the folder's.
        sampler: how a generative policy gets from noise to action.
        parity: requirements of the parity check.
        frozen: d, first actions of a chunk to keep from the previous one; None for no real-time chunking.
        actuation: low-level control of the robot; None for that of the task's own robot.
        sign: secret key to sign the file with.

    Raises:
        FormatError, MissingError: not a finished run.
        ContractError: a run of another task.
        ParityError: the graph computes something else; nothing was written.
    """
    source = from_run(Path(run), None if demos is None else str(demos), task, last=last)
    return export_policy(
        source, Path(out), sampler, parity, name=name, frozen=frozen, actuation=actuation, sign=sign
    )


def export_sb3(
    model: str | Path,
    task: Task | str,
    out: str | Path,
    *,
    normaliser: Path | None = None,
    name: str | None = None,
    parity: ParityOptions = ParityOptions(),
    actuation: Actuation | None = None,
    sign: Path | None = None,
) -> Manifest:
    """Write a stable-baselines3 model as a policy file, if torch and ONNX agree.

    Args:
        model: the zip that `model.save` wrote.
        task: task that it was trained on, or how a command line names it.
        out: file to write.
        normaliser: VecNormalize of the training; default: the one beside the model.
        name: for the manifest; default: the task's and the algorithm's.
        parity: requirements of the parity check.
        actuation: low-level control of the robot; None for that of the task's own robot.
        sign: secret key to sign the file with.

    Raises:
        FormatError, MissingError: a file cannot be used, or a normaliser is missing.
        ContractError: an unknown type of policy, or another task's.
        ParityError: the graph computes something else; nothing was written.
    """
    source = from_sb3(Path(model), resolve(task), normaliser, None)
    return export_policy(source, Path(out), parity=parity, name=name, actuation=actuation, sign=sign)


def export_module(
    module: nn.Module,
    task: Task | str,
    out: str | Path,
    *,
    name: str | None = None,
    noise_size: int = 0,
    noise: Literal["zero", "normal"] = "normal",
    recorded: Array | None = None,
    recipe: Recipe | None = None,
    parity: ParityOptions = ParityOptions(),
    reading: ReadingOptions = ReadingOptions(),
    actuation: Actuation | None = None,
    sign: Path | None = None,
) -> Manifest:
    """Write a torch module as a policy file, if torch and ONNX agree.

        >>> net = nn.Sequential(nn.Linear(11, 64), nn.ReLU(), nn.Linear(64, 3), nn.Tanh())
        >>> manifest = export_module(net, "hopper", "hopper.onnx")
        >>> manifest.method, manifest.horizon, manifest.parity[0].max_error < 1e-5
        ('torch module', 1, True)

    Args:
        module: `forward(observation)`, raw observations (B, O) in the task's order, to actions in robot units,
            (B, A) or (B, H, A). Actions beyond the limits are clipped. The module is copied, not changed.
        task: a task of your own, or how a command line names one.
        out: file to write.
        name: for the manifest; default: the task's and the class's.
        noise_size: D, for a `forward(observation, noise)` with noise (B, D).
        noise: noise on the robot: zeros or N(0, I).
        recorded: observations that it meets in use, for the parity check and the golden rows, shape (M, O). By
            default the module plays its task for them.
        recipe: how the module's observation is computed from the robot's signals; None if it is those signals.
            `recorded` are then raw ones, shape (M, R).
        parity: requirements of the parity check.
        reading: how actions are meant where the module leaves it open: rescaled from ±1, limited by tanh.
        actuation: low-level control of the robot; None for that of the task's own robot.
        sign: secret key to sign the file with.

    Raises:
        UsageError: the module leaves open how its actions are meant, and `reading` does not say it.
        ContractError: a module that does not fit the task, or an operator that ONNX does not have.
        ParityError: the graph computes something else; nothing was written.
    """
    task = resolve(task)
    if recipe is not None:
        recorded = None if recorded is None else prepared(recipe, task, recorded)
        task = replace(task, observation=recipe.observation(task.action))
    external = from_module(module, task, noise_size, type(module).__name__)
    sampler = SamplerOptions(noise=noise if noise_size else None)
    source = from_external(external, task, recorded, recipe, reading=reading)
    return export_policy(source, Path(out), sampler, parity, name=name, actuation=actuation, sign=sign)


def _check(
    model: onnx.ModelProto,
    deployment: Deployment,
    rows: Rows,
    actions: tuple[Signal, ...],
    allowed: Allowed,
    provider: str,
) -> Parity:
    """Compare a graph's actions and ODE states on one execution provider."""
    candidates = max(1, rows.noise.shape[1])
    session = open_session(model.SerializeToString(), provider, allowed.where, rows=candidates)
    parity = check_parity(session, deployment, rows, actions, allowed)
    if deployment.kind.check_steps is not None:
        deployment.kind.check_steps(model, deployment, rows, allowed, provider)
    return parity
