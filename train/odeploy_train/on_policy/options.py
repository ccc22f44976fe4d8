"""Sizes and coefficients of the PPO core."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PpoOptions:
    """Sizes and coefficients that every on-policy verb offers."""

    ticks: int = 512
    """T: ticks of each environment per rollout."""
    epochs: int = 10
    """Passes over a rollout."""
    batch: int = 256
    """Rows per minibatch."""
    lr: float = 3e-4
    """Learning rate at the start; falls linearly to 0."""
    discount: float = 0.99
    """Discount γ."""
    trace_decay: float = 0.95
    """λ of the advantage estimate."""
    clip: float = 0.2
    """Clip range ε of the ratio."""
    kl_limit: float = math.inf
    """Early stop: a pass with an estimate of KL(old ‖ new) above this is the last one over its rollout."""


@dataclass(frozen=True)
class PpoConfig(PpoOptions):
    """All sizes and coefficients of the core."""

    value_coefficient: float = 0.5
    """c_v."""
    value_clip: float | None = None
    """Largest move of a value from the old one that its loss still rewards; None for no limit."""
    gradient_norm: float = 0.5
    """Largest norm of the gradient."""
    scale_rewards: bool = True
    """Whether rewards are divided by the running standard deviation of the discounted return."""
    device: str = "cpu"
    """Torch device of the minibatches; rollouts are collected on the CPU, beside the simulations."""
    compile: bool = False
    """Whether `torch.compile` compiles the loss of a minibatch."""
