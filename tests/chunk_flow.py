"""A flow policy of action chunks with random weights at trained scale."""

from pathlib import Path

import torch

from odeploy_export.sources.source import Source
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from tests.exports import export
from tests.policies import TRAINED_SCALE, recorded


def chunk_flow(task: Task, horizon: int) -> FlowPolicy:
    """Return a flow of action chunks; each action of the chunk has its own scale."""
    generator = torch.Generator().manual_seed(0)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    policy = FlowPolicy(FlowConfig(O, A, width=32, depth=2, horizon=horizon))
    with torch.no_grad():
        for parameter in policy.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            parameter.normal_(0, TRAINED_SCALE / fan_in**0.5, generator=generator)
    chunks = torch.randn(256, horizon * A, generator=generator) * torch.linspace(0.1, 0.3, horizon * A)
    policy.fit(torch.from_numpy(recorded(task, rows=256)), chunks, task.action)
    return policy.eval().requires_grad_(False)


def chunk_file(folder: Path, task: Task, horizon: int, frozen: int | None = None) -> Path:
    """Return the same as a policy file of 2 Euler steps, with weights small enough for guidance."""
    policy, path = chunk_flow(task, horizon), folder / f"{task.name}-{horizon}-{frozen}.onnx"
    for parameter in policy.velocity.parameters():
        parameter.mul_(0.5)
    source = Source(policy, "fm-bc", "chunks", task, recorded(task, rows=128), {})
    export(source, path, steps=2, frozen=frozen)
    return path
