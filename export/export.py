"""`odeploy export`: a trained policy, ours or another library's, becomes one policy file, or is refused."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console

from export.diffusion_graph import UnrolledDiffusion
from export.flow_graph import SplitFlow
from export.gate import EDGE_STDS, TOLERANCE, Exportable, Rows, gate_rows, measure, reference
from export.mlp_graph import MlpGraph, StudentGraph
from export.onnx_file import to_bytes, trace_graph
from export.source import Source, from_run, from_sb3
from runtime.errors import UsageError
from runtime.onnx_policy import OnnxPolicy, open_session
from runtime.policy_file import ANCESTRAL, MANIFEST_VERSION, GoldenRow, Manifest, Noise, Sampler, parse
from runtime.whole_file import write_whole
from sim_bridge.catalogue import get
from train.diffusion_policy import DEPLOYED_STEPS, DiffusionPolicy
from train.mlp_policy import MlpPolicy
from train.ode import solver, uniform_grid
from train.policies import FlowPolicy, StudentPolicy

_RECORDED_ROWS = 128
_GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Config:
    """Exports a trained policy as one ONNX policy file, if torch and ONNX agree."""

    trained: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|ZIP")]
    """Folder of a training run; with `--from sb3` the zip that model.save wrote."""
    out: Path
    """The policy file to write."""
    source: Annotated[Literal["run", "sb3"], tyro.conf.arg(name="from")] = "run"
    """Who trained it: `run` is odeploy, `sb3` is stable-baselines3 or sb3-contrib."""
    task: str | None = None
    """Of an sb3 model: the catalogued task that it was trained on. A run knows its own."""
    normaliser: Path | None = None
    """Of an sb3 model: its VecNormalize, as normaliser.npz or pickled; the one beside the model if not given."""
    solver: str | None = None
    """Of a flow: `euler`, `midpoint`, `heun` or `rk4` (euler if not given)."""
    steps: int | None = None
    """Of a flow: K, solver steps from noise to action (10 if not given). Of a diffusion policy: S, the steps of
    its training that the sampler visits (100, or all if there are fewer)."""
    noise: Literal["zero", "normal"] | None = None
    """Of a flow or a diffusion policy: all draws are zeros, the one deterministic answer, or N(0, I) (normal if
    not given)."""
    demos: str | None = None
    """Observations for the gate and the golden rows; if not given, those that a run was trained on, or those
    that an sb3 model meets when it plays its task."""
    name: str | None = None
    """Name of the policy; if not given, the run's folder name, or task and algorithm of an sb3 model."""
    tolerance: float = TOLERANCE
    """Largest error between torch and ONNX, on unit-scale actions."""


def main(arguments: list[str]) -> None:
    """Exports, gates and writes."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy export"), Console()
    source = _source(config)
    for note in source.notes:
        console.print(note, highlight=False, soft_wrap=True)
    manifest = export_policy(source, config)
    parity = manifest.parity[0]
    console.print(
        f"parity: {parity.rows} rows at batches {parity.batches}: max error {parity.max_error:.2e} "
        f"(tolerance {parity.tolerance:g}), {parity.provider}",
        highlight=False,
    )
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
    sampler, noise = _sampling(policy, config, len(task.action))
    model = trace_graph(_graph(policy, sampler), len(task.observation), noise.shape)
    picks = np.linspace(0, len(source.recorded) - 1, _RECORDED_ROWS).astype(int)
    rows = gate_rows(policy, source.recorded[picks], noise, edge_stds=_edge_stds(policy))
    session = open_session(model.SerializeToString(), "cpu", str(config.out))
    parity = measure(session, policy, sampler, rows, task.action, str(config.out), config.tolerance)
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=config.name or source.name,
        method=source.method,
        kind=_kind(policy),
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=1,
        observation=task.observation,
        action=task.action,
        action_semantics="absolute command in each signal's unit, clipped to its limits",
        noise=noise,
        sampler=sampler,
        parity=(parity,),
        golden=_golden_rows(policy, sampler, rows),
        provenance=source.provenance,
    )
    data = to_bytes(model, manifest)
    OnnxPolicy(parse(config.out, data))  # what the robot will do at load, before the file exists
    write_whole(config.out, data)
    return manifest


def _source(config: Config) -> Source:
    if config.source == "sb3":
        if config.task is None:
            raise UsageError(
                where="--from sb3",
                expected="--task, which the model does not name",
                got="none",
                remedy="give a name that `odeploy tasks` lists",
            )
        return from_sb3(config.trained, get(config.task), config.normaliser, config.demos)
    _refuse_given(config, ("task", "normaliser"), "--from sb3", "a run, which knows its own")
    return from_run(config.trained, config.demos)


def _kind(policy: Exportable) -> Literal["flow", "diffusion", "mlp"]:
    match policy:
        case FlowPolicy():
            return "flow"
        case DiffusionPolicy():
            return "diffusion"
    return "mlp"


def _graph(policy: Exportable, sampler: Sampler | None) -> torch.nn.Module:
    """The module to trace, by the kind of policy."""
    match policy:
        case FlowPolicy():
            assert sampler is not None
            return SplitFlow(policy, solver(sampler.solver), sampler.t_grid)
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
    if isinstance(policy, FlowPolicy | MlpPolicy) and math.isfinite(policy.clip):
        return (*EDGE_STDS, -2 * policy.clip, 2 * policy.clip)
    return EDGE_STDS


def _sampling(policy: Exportable, config: Config, action_size: int) -> tuple[Sampler | None, Noise]:
    if isinstance(policy, DiffusionPolicy):
        _refuse_given(config, ("solver",), "a flow policy", "a diffusion policy, which has no ODE to solve")
        levels = policy.levels
        steps = min(DEPLOYED_STEPS, levels.steps) if config.steps is None else config.steps
        sampler = Sampler(ANCESTRAL, steps, levels.t_grid(steps))
        return sampler, Noise(config.noise or "normal", (1, steps, action_size))
    if not isinstance(policy, FlowPolicy):
        _refuse_given(config, ("solver", "steps", "noise"), "a flow policy", "an mlp, which has no ODE to solve")
        return None, Noise("none")
    tableau = solver(config.solver or "euler")
    steps = 10 if config.steps is None else config.steps
    return Sampler(tableau.name, steps, uniform_grid(steps)), Noise(config.noise or "normal", (1, 1, action_size))


def _refuse_given(config: Config, options: tuple[str, ...], expected: str, got: str) -> None:
    given = [f"--{name}" for name in options if getattr(config, name) is not None]
    if given:
        raise UsageError(where=", ".join(given), expected=expected, got=got, remedy="leave the option out")


def _golden_rows(policy: Exportable, sampler: Sampler | None, rows: Rows) -> tuple[GoldenRow, ...]:
    """A few recorded rows, spread out, with torch's own float32 answers."""
    picks = np.linspace(0, _RECORDED_ROWS - 1, _GOLDEN_ROWS).astype(int)
    observation, noise = rows.observation[picks], rows.noise[picks]
    actions = reference(policy, sampler, torch.float32)(observation, noise)
    return tuple(
        GoldenRow(tuple(map(float, o)), tuple(map(float, n.ravel())), tuple(map(float, a)))
        for o, n, a in zip(observation, noise, actions, strict=True)
    )
