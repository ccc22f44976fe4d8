"""`odeploy export`: a trained policy, ours or another library's, becomes one policy file, or is refused."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console

from export.best_of_n_graph import OUTPUTS, BestOfNGraph
from export.diagnosis import explained
from export.diffusion_graph import UnrolledDiffusion
from export.flow_graph import SplitFlow
from export.gate import EDGE_STDS, TOLERANCE, Exportable, Rows, gate_rows, measure, proposals, reference
from export.mlp_graph import MlpGraph, StudentGraph
from export.onnx_file import to_bytes, trace_graph
from export.outputs import name_outputs
from export.source import Source, from_run, from_sb3
from runtime.errors import ParityError, UsageError
from runtime.onnx_policy import OnnxPolicy, open_session
from runtime.policy_file import ANCESTRAL, MANIFEST_VERSION, GoldenRow, Manifest, Noise, Sampler, parse
from runtime.whole_file import write_whole
from sim_bridge.catalogue import get
from train.best_of_n import DEPLOYED_CANDIDATES, BestOfN
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
    t_grid: str | None = None
    """Of a flow, instead of equal steps: its K + 1 times from 0 to 1, separated by commas."""
    candidates: int | None = None
    """Of a policy with critics: N, actions that are drawn, of which the best is taken (16 if not given)."""
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
    sign: Path | None = None
    """Sign the file with this secret key, which `odeploy keys NAME --sign` made."""


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
        f"(tolerance {parity.tolerance:g}), {parity.provider}"
        + (f"; {parity.ties} ties between candidates" if parity.ties else ""),
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
    if isinstance(policy, BestOfN) and noise.shape[0] == 1:
        policy = policy.flow  # there is nothing to choose from
    model = trace_graph(_graph(policy, sampler), len(task.observation), noise.shape)
    name_outputs(model, OUTPUTS if isinstance(policy, BestOfN) else OUTPUTS[:1])
    picks = np.linspace(0, len(source.recorded) - 1, _RECORDED_ROWS).astype(int)
    rows = gate_rows(policy, source.recorded[picks], noise, edge_stds=_edge_stds(policy))
    session = open_session(model.SerializeToString(), "cpu", str(config.out), rows=max(1, noise.shape[0]))
    try:
        parity = measure(session, policy, sampler, rows, task.action, str(config.out), config.tolerance)
    except ParityError as error:
        raise explained(error, session, policy, sampler, rows, task.action) from None
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
        action_semantics="absolute command in each signal's unit, clipped to its limits",
        noise=noise,
        sampler=sampler,
        parity=(parity,),
        golden=_golden_rows(policy, sampler, rows),
        provenance=source.provenance,
    )
    data = _signed(to_bytes(model, manifest), config)
    OnnxPolicy(parse(config.out, data))  # what the robot will do at load, before the file exists
    write_whole(config.out, data)
    return manifest


def _signed(data: bytes, config: Config) -> bytes:
    if config.sign is None:
        return data
    from runtime.signature import read_secret, sign

    return sign(data, read_secret(config.sign), str(config.out))


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
        case FlowPolicy() | BestOfN():
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
        case BestOfN():
            assert sampler is not None
            return BestOfNGraph(policy, solver(sampler.solver), sampler.t_grid, sampler.candidates)
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
    if isinstance(policy, FlowPolicy | BestOfN | MlpPolicy) and math.isfinite(policy.clip):
        return (*EDGE_STDS, -2 * policy.clip, 2 * policy.clip)
    return EDGE_STDS


def _horizon(policy: Exportable) -> int:
    match policy:
        case FlowPolicy() | MlpPolicy():
            return policy.config.horizon
        case BestOfN():
            return policy.config.flow.horizon
    return 1


def _sampling(policy: Exportable, config: Config, action_size: int) -> tuple[Sampler | None, Noise]:
    if isinstance(policy, DiffusionPolicy):
        _refuse_given(
            config, ("solver", "t_grid"), "a flow policy", "a diffusion policy, which has no ODE to solve"
        )
        _refuse_given(config, ("candidates",), "a policy with critics", "a diffusion policy, which has none")
        levels = policy.levels
        steps = min(DEPLOYED_STEPS, levels.steps) if config.steps is None else config.steps
        sampler = Sampler(ANCESTRAL, steps, levels.t_grid(steps))
        return sampler, Noise(config.noise or "normal", (1, steps, action_size))
    if not isinstance(policy, FlowPolicy | BestOfN):
        options = ("solver", "steps", "t_grid", "noise", "candidates")
        _refuse_given(config, options, "a flow policy", "an mlp, which has no ODE to solve")
        return None, Noise("none")
    if not isinstance(policy, BestOfN):
        _refuse_given(config, ("candidates",), "a policy with critics", "a flow, which has none")
    candidates = _candidates(config) if isinstance(policy, BestOfN) else 1
    tableau, t_grid = solver(config.solver or "euler"), _t_grid(config)
    noise = Noise(config.noise or "normal", (candidates, 1, _horizon(policy) * action_size))
    return Sampler(tableau.name, len(t_grid) - 1, t_grid, candidates), noise


def _candidates(config: Config) -> int:
    candidates = DEPLOYED_CANDIDATES if config.candidates is None else config.candidates
    if candidates < 1:
        raise UsageError(
            where="--candidates",
            expected="at least 1",
            got=str(candidates),
            remedy="ask for 1 or more",
        )
    if candidates > 1 and config.noise == "zero":
        raise UsageError(
            where="--noise zero",
            expected="1 candidate, since all are the same without noise",
            got=str(candidates),
            remedy="give --candidates 1, or --noise normal",
        )
    return candidates


def _t_grid(config: Config) -> tuple[float, ...]:
    """The K + 1 times from noise to action: those that were asked for, or equal steps."""
    if config.t_grid is None:
        return uniform_grid(10 if config.steps is None else config.steps)
    try:
        times = tuple(float(part) for part in config.t_grid.split(","))
    except ValueError:
        times = ()
    rises = all(now < following for now, following in pairwise(times))
    if len(times) < 2 or not rises or (times[0], times[-1]) != (0, 1):
        raise UsageError(
            where="--t-grid",
            expected="times that rise from 0 to 1, separated by commas",
            got=repr(config.t_grid),
            remedy="give for example 0,0.1,0.4,1",
        )
    if config.steps not in (None, len(times) - 1):
        raise UsageError(
            where="--steps",
            expected=f"{len(times) - 1}, as --t-grid has",
            got=str(config.steps),
            remedy="leave one of the two out",
        )
    return times


def _refuse_given(config: Config, options: tuple[str, ...], expected: str, got: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(config, name) is not None]
    if given:
        raise UsageError(where=", ".join(given), expected=expected, got=got, remedy="leave the option out")


def _golden_rows(policy: Exportable, sampler: Sampler | None, rows: Rows) -> tuple[GoldenRow, ...]:
    """A few recorded rows, spread out, with torch's own float32 answers.

    Of a policy that chooses, those in which the best is best by most, so that no rounding can choose another.
    """
    picks = np.linspace(0, _RECORDED_ROWS - 1, _GOLDEN_ROWS).astype(int)
    if isinstance(policy, BestOfN) and rows.noise.shape[1] > 1:
        assert sampler is not None
        values = np.sort(proposals(policy, sampler, rows, torch.float64).values[:_RECORDED_ROWS], axis=1)
        picks = np.sort(np.argsort(values[:, -2] - values[:, -1])[:_GOLDEN_ROWS])
    observation, noise = rows.observation[picks], rows.noise[picks]
    actions = reference(policy, sampler, torch.float32)(observation, noise)
    return tuple(
        GoldenRow(tuple(map(float, o)), tuple(map(float, n.ravel())), tuple(map(float, a)))
        for o, n, a in zip(observation, noise, actions, strict=True)
    )
