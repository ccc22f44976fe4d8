"""Best-of-N policies with random weights at trained scale, in run folders like FMER's and QVPO's."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from odeploy_sim.tasks.task import Task
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN, BestOfNConfig
from odeploy_train.policies.diffusion import DiffusionConfig, DiffusionPolicy
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import begin, new_card
from tests.policies import TRAINED_SCALE, recorded


@dataclass(frozen=True)
class Options:
    """Fields of a verb's config."""

    out: Path
    steps: int = 10
    lr: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class CriticOptions(Options):
    """Fields of the config of a method with critics."""

    critic_widths: tuple[int, ...] = (32, 32)
    critic_norm: bool = False


def best_of_n(
    task: Task,
    width: int = 32,
    seed: int = 0,
    *,
    horizon: int = 1,
    clip: float | None = None,
    squash: bool = False,
    critic_norm: bool = False,
) -> BestOfN:
    """Return weights at trained scale, uneven normalisers, actions mostly well within their limits."""
    O, A = len(task.observation), len(task.action)  # noqa: E741
    generator = torch.Generator().manual_seed(seed)
    flow = FlowConfig(O, A, width, depth=3, clip=clip, squash=squash, horizon=horizon)
    policy = BestOfN(BestOfNConfig(flow, (width, width), critic_norm=critic_norm))
    with torch.no_grad():
        for parameter in policy.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            parameter.normal_(0, TRAINED_SCALE / fan_in**0.5, generator=generator)
    actions = torch.randn(256, horizon * A, generator=generator) * torch.linspace(0.05, 0.2, horizon * A) + 0.1
    policy.fit(torch.from_numpy(recorded(task, rows=256)), actions, task.action)
    return policy.eval().requires_grad_(False)


def best_of_diffusion(
    task: Task,
    width: int = 32,
    steps: int = 6,
    seed: int = 0,
    *,
    clip: float | None = None,
    critic_norm: bool = False,
) -> BestOfDiffusion:
    """Return the same for a diffusion policy."""
    O, A = len(task.observation), len(task.action)  # noqa: E741
    generator = torch.Generator().manual_seed(seed)
    sizes = DiffusionConfig(O, A, width, 2, steps=steps, observation_clip=clip)
    policy = BestOfDiffusion(DiffusionPolicy(sizes), (width, width), critic_norm)
    with torch.no_grad():
        for parameter in policy.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            parameter.normal_(0, 1 / fan_in**0.5, generator=generator)
    actions = torch.randn(256, A, generator=generator).mul(0.5).clamp(-1, 1)
    policy.diffusion.fit(torch.from_numpy(recorded(task, rows=256)), actions, task.action)
    return policy.eval().requires_grad_(False)


def run_folder(folder: Path, task: Task, policy: BestOfN | FlowPolicy, lr: float = 1e-3) -> Path:
    """Write a finished run; without demonstrations, an export plays episodes for its observations."""
    begin(folder, new_card("fpo", task.name, None, Options(folder, lr=lr), policy.config))
    checkpoint.save(folder, {"step": Options(folder).steps, "policy": policy.state_dict()})
    return folder


def diffusion_run_folder(folder: Path, task: Task, policy: BestOfDiffusion) -> Path:
    """Write the same for a diffusion policy with 32-wide critics, stored next to it in the checkpoint."""
    options = CriticOptions(folder, critic_norm=any(isinstance(m, nn.LayerNorm) for m in policy.critics.modules()))
    begin(folder, new_card("qvpo", task.name, None, options, policy.diffusion.config))
    critics = {f"both.{name}": weight for name, weight in policy.critics.state_dict().items()}
    state = {"step": options.steps, "policy": policy.diffusion.state_dict(), "modules": {"critics": critics}}
    checkpoint.save(folder, state)
    return folder
