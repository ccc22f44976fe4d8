"""`odeploy export RUN`: a trained policy becomes one policy file, or is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console

from export.flow_graph import SplitFlow
from export.gate import TOLERANCE, Array, Rows, gate_rows, measure, reference
from export.mlp_graph import StudentGraph
from export.onnx_file import to_bytes, trace_graph
from runtime.errors import UsageError
from runtime.onnx_policy import OnnxPolicy, open_session
from runtime.policy_file import MANIFEST_VERSION, GoldenRow, Manifest, Noise, Sampler, parse
from runtime.whole_file import write_whole
from sim_bridge.catalogue import get
from sim_bridge.demonstrations import load
from train.ode import solver, uniform_grid
from train.policies import FlowPolicy, StudentPolicy
from train.run import RunCard, load_policy

_RECORDED_ROWS = 128
_GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Config:
    """Exports a training run as one ONNX policy file, if torch and ONNX agree."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a training run."""
    out: Path
    """The policy file to write."""
    solver: str | None = None
    """Of a flow: `euler`, `midpoint`, `heun` or `rk4` (euler if not given)."""
    steps: int | None = None
    """Of a flow: K, solver steps from noise to action (10 if not given)."""
    noise: Literal["zero", "normal"] | None = None
    """Of a flow: start from zeros, the one deterministic answer, or from N(0, I) (normal if not given)."""
    demos: str | None = None
    """Observations for the gate and the golden rows; those that the run was trained on if not given."""
    name: str | None = None
    """Name of the policy; the run's folder name if not given."""
    tolerance: float = TOLERANCE
    """Largest error between torch and ONNX, on unit-scale actions."""


def main(arguments: list[str]) -> None:
    """Exports, gates and writes."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy export"), Console()
    policy, card = load_policy(config.run)
    recorded = load(config.demos or card.demos, get(card.task)).observations
    recorded = recorded[np.linspace(0, len(recorded) - 1, _RECORDED_ROWS).astype(int)]
    manifest = export_policy(policy, card, recorded, config)
    parity = manifest.parity[0]
    console.print(
        f"parity: {parity.rows} rows at batches {parity.batches}: max error {parity.max_error:.2e} "
        f"(tolerance {parity.tolerance:g}), {parity.provider}",
        highlight=False,
    )
    console.print(f"policy: {config.out} ({config.out.stat().st_size:,} bytes)", soft_wrap=True)


def export_policy(policy: FlowPolicy | StudentPolicy, card: RunCard, recorded: Array, config: Config) -> Manifest:
    """Traces a policy, holds it against torch, and writes the file.

    Args:
        policy: the trained one.
        card: of its run.
        recorded: observations that it meets in use; the first rows of the gate. Shape (M, O).
        config: sampler, name and place.

    Raises:
        ParityError: the graph computes something else; nothing was written.
        UsageError: sampler options for a policy that has none.
    """
    task = get(card.task)
    sampler, noise = _sampling(policy, config, len(task.action))
    if isinstance(policy, FlowPolicy):
        assert sampler is not None
        graph: torch.nn.Module = SplitFlow(policy, solver(sampler.solver), sampler.t_grid)
    else:
        graph = StudentGraph(policy)
    model = trace_graph(graph, len(task.observation), noise.shape)
    rows = gate_rows(policy, recorded, noise)
    session = open_session(model.SerializeToString(), "cpu", str(config.out))
    parity = measure(session, policy, sampler, rows, task.action, str(config.out), config.tolerance)
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=config.name or config.run.resolve().name,
        method=card.method,
        kind="flow" if isinstance(policy, FlowPolicy) else "mlp",
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
        provenance=card.provenance,
    )
    data = to_bytes(model, manifest)
    OnnxPolicy(parse(config.out, data))  # what the robot will do at load, before the file exists
    write_whole(config.out, data)
    return manifest


def _sampling(
    policy: FlowPolicy | StudentPolicy, config: Config, action_size: int
) -> tuple[Sampler | None, Noise]:
    given = [f"--{n}" for n in ("solver", "steps", "noise") if getattr(config, n) is not None]
    if isinstance(policy, StudentPolicy):
        if given:
            raise UsageError(
                where=", ".join(given),
                expected="a flow policy",
                got="an mlp, which has no ODE to solve",
                remedy="leave the option out",
            )
        return None, Noise("none")
    tableau = solver(config.solver or "euler")
    steps = 10 if config.steps is None else config.steps
    return Sampler(tableau.name, steps, uniform_grid(steps)), Noise(config.noise or "normal", (1, 1, action_size))


def _golden_rows(policy: FlowPolicy | StudentPolicy, sampler: Sampler | None, rows: Rows) -> tuple[GoldenRow, ...]:
    """A few recorded rows, spread out, with torch's own float32 answers."""
    picks = np.linspace(0, _RECORDED_ROWS - 1, _GOLDEN_ROWS).astype(int)
    observation, noise = rows.observation[picks], rows.noise[picks]
    actions = reference(policy, sampler, torch.float32)(observation, noise)
    return tuple(
        GoldenRow(tuple(map(float, o)), tuple(map(float, n.ravel())), tuple(map(float, a)))
        for o, n, a in zip(observation, noise, actions, strict=True)
    )
