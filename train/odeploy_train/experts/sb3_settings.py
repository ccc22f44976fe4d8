"""Settings of the trained experts. docs/decisions.md lists other attempts."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from odeploy_runtime.signals import half_ranges
from odeploy_sim.tasks.task import Task

Algorithm = Literal["PPO", "SAC"]


@dataclass(frozen=True)
class ExpertSettings:
    """Settings that solve a task.

    Attributes:
        algorithm: algorithm of stable-baselines3.
        steps: largest number of environment steps.
        enough: score at which training stops.
        envs: environments that share a forward pass.
        score_every: environment steps between two scores.
        options: options of the algorithm.
        arguments: arguments of the environment, where its expert learns from another reward than users see.
        horizon_ends: whether the horizon counts as an end during training, for tasks with a time limit. Otherwise
            values are bootstrapped across it.
    """

    algorithm: Algorithm
    steps: int
    enough: float
    envs: int
    score_every: int
    options: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    horizon_ends: bool = False


def _tanh_mlp(log_std: float, *widths: int) -> dict[str, Any]:
    return {"log_std_init": log_std, "net_arch": list(widths)}


_PPO = {
    "n_steps": 512,
    "batch_size": 256,
    "n_epochs": 10,
    "gamma": 0.99,
    "learning_rate": lambda remaining: 3e-4 * remaining,
    "policy_kwargs": _tanh_mlp(-1.0, 64, 64),
}
SETTINGS = {
    "hopper": ExpertSettings("PPO", 3_000_000, 3_200, 8, 100_000, _PPO),
    "walker2d": ExpertSettings("PPO", 4_000_000, 4_500, 8, 100_000, _PPO),
    # After rl-baselines3-zoo's tuned settings for this environment.
    "halfcheetah": ExpertSettings(
        "PPO",
        3_000_000,
        6_500,
        1,
        100_000,
        {
            "n_steps": 512,
            "batch_size": 64,
            "n_epochs": 20,
            "gamma": 0.98,
            "gae_lambda": 0.92,
            "learning_rate": 2e-5,
            "clip_range": 0.1,
            "ent_coef": 4e-4,
            "vf_coef": 0.58,
            "max_grad_norm": 0.8,
            "policy_kwargs": _tanh_mlp(-2.0, 256, 256) | {"ortho_init": False, "activation_fn": torch.nn.ReLU},
        },
    ),
    "ant-goal": ExpertSettings(
        "PPO",
        4_000_000,
        0.95,
        16,
        200_000,
        _PPO | {"batch_size": 1024, "policy_kwargs": _tanh_mlp(-1.5, 128, 128)},
        {"arrival_bonus": 2.0},
        horizon_ends=True,
    ),
    "hand-rotate": ExpertSettings(
        "SAC",
        500_000,
        0.95,
        1,
        20_000,
        {"gamma": 0.95, "learning_starts": 5_000, "policy_kwargs": {"net_arch": [256, 256]}},
        {"reward_type": "dense"},
    ),
}
_PLAIN_STEPS = {"PPO": 1_000_000, "SAC": 200_000}
_SCORES = 10
_SOLVED = 0.95


def plain(task: Task, algorithm: Algorithm, steps: int | None) -> ExpertSettings:
    """Return settings for a task without any of its own.

    They are the library's defaults, with larger batches for PPO. Its first noise is half of the actions' half
    range: the default of 1 would drown actions of a few hundredths, and hardly move those of hundreds.

    Args:
        task: the task.
        algorithm: algorithm of stable-baselines3.
        steps: environment steps; None for the default.
    """
    total = _PLAIN_STEPS[algorithm] if steps is None else steps
    half_range = float(np.median(half_ranges(task.action)))
    noise = _tanh_mlp(math.log(half_range / 2), 64, 64)
    options: dict[str, Any] = _PPO | {"policy_kwargs": noise} if algorithm == "PPO" else {"gamma": 0.99}
    return ExpertSettings(
        algorithm,
        total,
        enough=_SOLVED if task.scored_by == "success" else math.inf,
        envs=8 if algorithm == "PPO" else 1,
        score_every=max(1, total // _SCORES),
        options=options,
    )
