"""`odeploy export`: a trained policy, ours or another library's, becomes one policy file, or is refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
import tyro
from rich.console import Console
from torch import nn

from odeploy_export.foreign_export import Say, export_foreign, export_model, silent
from odeploy_export.graphs.best_of_n import OUTPUTS, BestOfNGraph, Choosing
from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.mlp import MlpGraph, StudentGraph
from odeploy_export.graphs.real_time_chunking import continuable, real_time_chunk_graph
from odeploy_export.graphs.recurrent import recurrent_graph
from odeploy_export.graphs.rewrites import in_precision, name_outputs
from odeploy_export.graphs.tracing import to_bytes, trace_graph
from odeploy_export.options import Config, refuse_given, sampling
from odeploy_export.parity.chunks import golden_chunks
from odeploy_export.parity.closed_loop import ClosedLoop, compare
from odeploy_export.parity.deviation import ROUNDING, TOLERANCE, TOLERANCES
from odeploy_export.parity.diagnosis import explained
from odeploy_export.parity.gate import (
    EDGE_STDS,
    Array,
    Exportable,
    Rows,
    gate_rows,
    held,
    measure,
    proposals,
    reference,
)
from odeploy_export.parity.solver_steps import measure_steps
from odeploy_export.sources.runs import Source, from_run, from_sb3
from odeploy_export.sources.torch_module import from_module
from odeploy_export.toml_files import actuation_for
from odeploy_export.writer import (
    ACTION_SEMANTICS,
    RECORDED_ROWS,
    golden_picks,
    golden_rows,
    observed_ranges,
    write_policy,
)
from odeploy_runtime.errors import ParityError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy, open_session
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, GoldenRow, Manifest, Parity, Sampler
from odeploy_runtime.typed_json import decode, encode
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.ode import solver
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.mlp import MlpPolicy
from odeploy_train.policies.recurrent import RecurrentPolicy
from odeploy_train.policies.student import StudentPolicy

CLOSED_LOOP = "closed_loop"  # in the provenance


def main(arguments: list[str]) -> None:
    """Exports, gates and writes."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy export"), Console()
    if config.closed_loop:
        torch.set_num_threads(1)  # several spin at their barriers: beside a busy process 30 times as slow

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    if config.source in ("run", "sb3"):
        made_here = "a run, which sees the task's signals" if config.source == "run" else "--from sb3"
        refuse_given(config, ("recipe",), "--from module, torchscript or onnx", made_here)
        source = _source(config)
        for note in source.notes:
            say(note)
        manifest = export_policy(source, config)
    else:
        manifest = export_model(config, say)
    for parity in manifest.parity:
        console.print(
            f"parity: {parity.rows} rows at batches {parity.batches}: max error {parity.max_error:.2e} "
            f"(tolerance {parity.tolerance:g}), {parity.provider}"
            + (f"; {parity.ties} ties between candidates" if parity.ties else ""),
            highlight=False,
            soft_wrap=True,
        )
    if CLOSED_LOOP in manifest.provenance:
        agreement = decode(ClosedLoop, manifest.provenance[CLOSED_LOOP], CLOSED_LOOP)
        console.print(f"closed loop: {agreement}", highlight=False, soft_wrap=True)
    console.print(f"policy: {config.out} ({config.out.stat().st_size:,} bytes)", soft_wrap=True)


def export_policy(source: Source, config: Config) -> Manifest:
    """Traces a policy, holds it against torch, and writes the file.

    Args:
        source: the trained policy; its recorded observations are the first rows of the gate.
        config: sampler, name and place.

    Raises:
        ParityError: the graph computes something else; nothing was written.
        UsageError: sampler options for a policy that has none.
    """
    policy, task = source.policy, source.task
    sampler, noise = sampling(policy, config, len(task.action))
    policy = held(policy, noise.shape[0])
    picks = np.linspace(0, len(source.recorded) - 1, RECORDED_ROWS).astype(int)
    if isinstance(policy, RecurrentPolicy):
        model = recurrent_graph(policy)
        picks = np.arange(RECORDED_ROWS) % len(source.recorded)  # ticks that follow each other
    elif config.frozen is not None:
        flow = continuable(policy, config.frozen)
        assert sampler is not None
        model = real_time_chunk_graph(flow, solver(sampler.solver), sampler.t_grid)
    else:
        model = trace_graph(_graph(policy, sampler), len(task.observation), noise.shape)
        name_outputs(model, OUTPUTS if isinstance(policy, Choosing) else OUTPUTS[:1])
    rows = gate_rows(policy, source.recorded[picks], noise, edge_stds=_edge_stds(policy))
    model = in_precision(model, config.precision)
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=config.name or source.name,
        method=source.method,
        kind=_kind(policy),
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=_horizon(policy),
        observation=task.observation,
        action=task.action,
        action_semantics=ACTION_SEMANTICS,
        noise=noise,
        sampler=sampler,
        parity=tuple(_gate(model, policy, sampler, rows, task, config, name) for name in config.provider),
        golden=_golden_rows(policy, sampler, rows, config.frozen),
        provenance=source.provenance | ({} if config.precision == "f32" else {"precision": config.precision}),
        state_size=policy.config.state_size if isinstance(policy, RecurrentPolicy) else 0,
        frozen=config.frozen,
        actuation=actuation_for(task, config.actuation),
        observed=observed_ranges(source.recorded),
    )
    if config.closed_loop:
        file = OnnxPolicy(parse(config.out, to_bytes(model, manifest)), config.provider[0])
        agreement = compare(policy, file, task, config.closed_loop)
        manifest = replace(manifest, provenance=manifest.provenance | {CLOSED_LOOP: encode(agreement)})
    write_policy(model, manifest, config.out, config.sign)
    return manifest


def export_module(
    module: nn.Module,
    task: Task | str,
    out: Path,
    *,
    name: str | None = None,
    noise_size: int = 0,
    noise: Literal["zero", "normal"] = "normal",
    recorded: Array | None = None,
    tolerance: float = TOLERANCE,
    sign: Path | None = None,
    say: Say = silent,
) -> Manifest:
    """Writes a torch module as a policy file that proves itself, if torch and ONNX agree.

        >>> net = torch.nn.Sequential(torch.nn.Linear(11, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3))
        >>> manifest = export_module(net, "hopper", Path("hopper.onnx"))
        >>> manifest.method, manifest.horizon, manifest.parity[0].max_error < 1e-5
        ('torch module', 1, True)

    Args:
        module: `forward(observation)`, raw observations (B, O) in the task's order, to actions in robot units,
            (B, A) or (B, H, A). What it answers beyond the limits is clipped. It is copied, not changed.
        task: a catalogued task's name, or a task of your own.
        out: the file to write.
        name: for the manifest; if not given, the task's and the class's.
        noise_size: D, if it is `forward(observation, noise)` with noise (B, D).
        noise: what the robot draws for it: zeros or N(0, I).
        recorded: observations that it meets in use, for the gate and the golden rows, shape (M, O); if not
            given, it plays its task for them.
        tolerance: largest error between torch and ONNX, on unit-scale actions.
        sign: secret key to sign the file with.
        say: takes what the command line would print, line by line.

    Raises:
        ContractError: a module that does not fit the task, or an operator that ONNX has not.
        ParityError: the graph computes something else; nothing was written.
    """
    task = get(task) if isinstance(task, str) else task
    foreign = from_module(module, task, noise_size, type(module).__name__)
    return export_foreign(
        foreign, task, out, name=name, noise=noise, recorded=recorded, tolerance=tolerance, sign=sign, say=say
    )


def _gate(
    model: onnx.ModelProto,
    policy: Exportable,
    sampler: Sampler | None,
    rows: Rows,
    task: Task,
    config: Config,
    provider: str,
) -> Parity:
    """Its answers, then its states along the ODE, on one execution provider."""
    where, candidates = str(config.out), max(1, rows.noise.shape[1])
    tolerance = TOLERANCES[config.precision] if config.tolerance is None else config.tolerance
    rounding = ROUNDING if config.tolerance is None else 0.0
    session = open_session(model.SerializeToString(), provider, where, rows=candidates)
    try:
        parity = measure(session, policy, sampler, rows, task.action, where, tolerance, rounding)
    except ParityError as error:
        raise explained(error, session, policy, sampler, rows, task.action) from None
    if isinstance(policy, FlowPolicy | BestOfN) and config.frozen is None:
        assert sampler is not None
        measure_steps(model, policy, sampler, rows, task.action, where, tolerance, provider, rounding)
    return parity


def _source(config: Config) -> Source:
    refuse_given(config, ("weights", "noise_size"), "--from module", f"--from {config.source}")
    if config.source == "sb3":
        if config.task is None:
            raise UsageError(
                where="--from sb3",
                expected="--task, which the model does not name",
                got="none",
                remedy="give a name that `odeploy tasks` lists",
            )
        return from_sb3(config.trained, get(config.task), config.normaliser, config.demos)
    refuse_given(config, ("task", "normaliser"), "--from sb3", "a run, which knows its own")
    return from_run(config.trained, config.demos)


def _kind(policy: Exportable) -> Literal["flow", "diffusion", "mlp", "recurrent"]:
    match policy:
        case FlowPolicy() | BestOfN():
            return "flow"
        case DiffusionPolicy() | BestOfDiffusion():
            return "diffusion"
        case RecurrentPolicy():
            return "recurrent"
    return "mlp"


def _graph(policy: Exportable, sampler: Sampler | None) -> torch.nn.Module:
    """The module to trace, by the kind of policy."""
    match policy:
        case FlowPolicy():
            assert sampler is not None
            return SplitFlow(policy, solver(sampler.solver), sampler.t_grid)
        case BestOfN():
            assert sampler is not None
            return BestOfNGraph(policy, solver(sampler.solver), sampler.t_grid, sampler.candidates)
        case BestOfDiffusion():
            assert sampler is not None
            return BestOfNGraph(policy, None, sampler.t_grid, sampler.candidates)
        case DiffusionPolicy():
            assert sampler is not None
            return UnrolledDiffusion(policy, sampler.t_grid)
        case StudentPolicy():
            return StudentGraph(policy)
        case MlpPolicy():
            return MlpGraph(policy)
    raise TypeError(f"no graph for {type(policy).__name__}")


def _edge_stds(policy: Exportable) -> tuple[float, ...]:
    """Where a policy clips its normalised observations, edges lie on both sides of the clip."""
    if isinstance(policy, FlowPolicy | DiffusionPolicy | Choosing | MlpPolicy) and math.isfinite(policy.clip):
        return (*EDGE_STDS, -2 * policy.clip, 2 * policy.clip)
    return EDGE_STDS


def _horizon(policy: Exportable) -> int:
    match policy:
        case FlowPolicy() | MlpPolicy():
            return policy.config.horizon
        case BestOfN():
            return policy.config.flow.horizon
    return 1


def _golden_rows(
    policy: Exportable, sampler: Sampler | None, rows: Rows, frozen: int | None
) -> tuple[GoldenRow, ...]:
    """A few recorded rows, spread out, with torch's own float32 answers.

    Of a policy that chooses, those in which the best is best by most, so that no rounding can choose another.
    """
    picks = golden_picks()
    if isinstance(policy, Choosing):
        assert sampler is not None
        values = np.sort(proposals(policy, sampler, rows, torch.float64).values[:RECORDED_ROWS], axis=1)
        picks = golden_picks(np.argsort(values[:, -2] - values[:, -1]))
    observation, noise = rows.observation[picks], rows.noise[picks]
    if frozen is not None and isinstance(policy, FlowPolicy):
        assert sampler is not None
        return golden_rows(observation, noise, golden_chunks(policy, sampler, observation, noise, frozen))
    return golden_rows(observation, noise, reference(policy, sampler, torch.float32)(observation, noise))
