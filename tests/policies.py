"""Small policies for tests: random weights at trained scale, sealed as files without a training run."""

import functools
from pathlib import Path

import numpy as np
import onnx
import torch

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.mlp import StudentGraph
from odeploy_export.graphs.tracing import to_bytes, trace_graph
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, GoldenRow, Manifest, Noise, Sampler
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.policies.student import StudentConfig, StudentPolicy
from tests.exports import checked, rows_of

TRAINED_SCALE = 2.0
"""Weights at default initialisation are too small: a flow is then almost linear, and a wrong graph passes."""


def flow_policy(task: Task, width: int = 32, depth: int = 3, seed: int = 0) -> FlowPolicy:
    """Return a flow policy with random weights at trained scale and uneven normalisers."""
    generator = torch.Generator().manual_seed(seed)
    policy = FlowPolicy(FlowConfig(len(task.observation), len(task.action), width, depth))
    _randomise(policy, generator)
    policy.fit(_observations(task, generator), _actions(task, generator), task.action)
    return policy.eval()


def student_policy(task: Task, width: int = 32, seed: int = 0) -> StudentPolicy:
    """Return a student with random weights at trained scale."""
    generator = torch.Generator().manual_seed(seed)
    policy = StudentPolicy(StudentConfig(len(task.observation), len(task.action), width))
    _randomise(policy, generator)
    policy.fit(_observations(task, generator), task.action)
    return policy.eval()


def recorded(task: Task, rows: int = 32, seed: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return random observations at a task's scale. Shape (rows, O)."""
    return _observations(task, torch.Generator().manual_seed(seed))[:rows].numpy()


@functools.cache
def policy_bytes(
    task_name: str, kind: str = "mlp", noise_mode: str = "normal", width: int = 32, steps: int = 4
) -> bytes:
    """Return a sealed policy file with a parity check for a task; `kind` is `mlp` or `flow` (Euler, `steps`)."""
    task = get(task_name)
    if kind == "mlp":
        policy: FlowPolicy | StudentPolicy = student_policy(task, width)
        sampler, noise, graph = None, Noise("none"), StudentGraph(policy)  # type: ignore[arg-type]
    else:
        policy = flow_policy(task, width)
        sampler, noise = Sampler("euler", steps, uniform_grid(steps)), Noise(noise_mode, (1, 1, len(task.action)))  # type: ignore[arg-type]
        graph = SplitFlow(policy, solver("euler"), uniform_grid(steps))  # type: ignore[assignment]
    model: onnx.ModelProto = trace_graph(graph, len(task.observation), noise.shape)
    rows = rows_of(policy, recorded(task), noise)
    session = open_session(model.SerializeToString(), "cpu", "test policy")
    parity = checked(session, policy, sampler, rows, task.action, "test policy")
    feed = {"observation": rows.observation[:2]} | ({} if sampler is None else {"noise": rows.noise[:2]})
    actions = session.run(["action"], feed)[0]
    golden = tuple(
        GoldenRow(tuple(map(float, o)), tuple(map(float, n.ravel())), tuple(map(float, a.ravel())))
        for o, n, a in zip(rows.observation[:2], rows.noise[:2], actions, strict=True)
    )
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=f"test-{kind}",
        method="distill" if kind == "mlp" else "fm-bc",
        kind="mlp" if kind == "mlp" else "flow",
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=1,
        observation=task.observation,
        action=task.action,
        action_semantics="test",
        noise=noise,
        sampler=sampler,
        parity=(parity,),
        golden=golden,
        provenance={},
    )
    return to_bytes(model, manifest)


def policy_path(folder: Path, task: Task, kind: str = "mlp", noise_mode: str = "normal") -> Path:
    """Write the same to a file; return its path."""
    path = folder / f"{task.name}-{kind}.onnx"
    path.write_bytes(policy_bytes(task.name, kind, noise_mode))
    return path


def _randomise(policy: FlowPolicy | StudentPolicy, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            parameter.normal_(0, TRAINED_SCALE / fan_in**0.5, generator=generator)


def _observations(task: Task, generator: torch.Generator) -> torch.Tensor:
    spread = torch.linspace(0.2, 3.0, len(task.observation))
    return torch.randn(256, len(task.observation), generator=generator) * spread + spread - 1


def _actions(task: Task, generator: torch.Generator) -> torch.Tensor:
    spread = torch.linspace(0.3, 0.8, len(task.action))
    return (torch.randn(256, len(task.action), generator=generator) * spread + 0.1).clamp(-1, 1)
